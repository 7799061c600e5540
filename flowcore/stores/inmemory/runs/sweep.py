"""The janitor's rounds: ``sweep.lua`` of the Redis store said a second time.

In: the world and the time. Out: what was overdue, dealt with. Not here: the moves themselves.
"""

from flowcore.ports.store import Dispatch, SweepResult
from flowcore.ports.unit import Bundle
from flowcore.run.record import DEADLINE_PASSED, GIVEN_UP, WORKER_LOST
from flowcore.run.status import NodeState, RunState
from flowcore.stores.inmemory.runs.run import (
    DEADLINE,
    FINISH,
    GIVE_UP,
    GO_ON,
    RETENTION,
    Entry,
    StoreData,
)
from flowcore.stores.inmemory.runs.step import Step

__all__ = ["sweep"]

_MOST_DOUBLINGS = 6


def sweep(world: StoreData, *, now: int, limit: int) -> SweepResult:
    """Deal with up to ``limit`` entries of the agenda that are due."""
    steps: dict[str, Step] = {}
    for _, entry in zip(range(limit), world.due(now), strict=False):
        run, what = entry
        if run not in world.runs or (what == RETENTION and not _is_kept(world, entry, now)):
            world.agenda.pop(entry, None)
            steps.pop(run, None)
        elif entry in world.agenda and what != RETENTION:
            # An earlier entry of this round may have stopped the run.
            _look(steps.setdefault(run, Step(world, world.runs[run], now)), what)
    # In this order, for a run that ends gets a new entry: that of its retention.
    finished = {run: state for run, step in steps.items() if (state := step.finish())}
    return SweepResult(
        dispatches=tuple(found for step in steps.values() if (found := step.announce())),
        overdue=tuple(
            (found, times)
            for step in steps.values()
            for what, times in step.late
            if (found := _again(step, what))
        ),
        finished=finished,
        next_due=max(0, min(world.agenda.values()) - now) / 1000 if world.agenda else None,
    )


def _is_kept(world: StoreData, entry: Entry, now: int) -> bool:
    """Return whether an expired run is still kept, because the one it is part of continues."""
    run = entry[0]
    if world.is_wanted(world.runs[run]):
        world.agenda[entry] = now + world.retention
        return True
    del world.runs[run]
    world.bury(run)
    return False


def _look(step: Step, what: str) -> None:
    if what == DEADLINE:
        _deadline(step)
    elif what == GIVE_UP:
        _abandon(step)
    elif what in (GO_ON, FINISH):
        step.unschedule(what)
        if what == GO_ON:
            step.let_go()
    elif what in step.run.units:
        _look_at_unit(step, what)
    else:
        _look_at(step, int(what))


def _again(step: Step, what: tuple[int, int] | Bundle) -> Dispatch | None:
    if isinstance(what, Bundle):
        return step.dispatch_of((), (what,))
    return step.dispatch_of((what,), ())


def _look_at_unit(step: Step, unit: str) -> None:
    kept = step.run.units[unit]
    if kept.adopted:
        step.lose_unit(unit, WORKER_LOST, {"error": WORKER_LOST.as_dict()})
        return
    times = _remind(step, unit)
    step.late.append((Bundle(unit=unit, node=min(kept.nodes), count=len(kept.nodes)), times))


def _look_at(step: Step, node: int) -> None:
    run = step.run
    match run.nodes[node]:
        case NodeState.DISPATCHED:
            times = _remind(step, node)
            step.late.append(((node, run.attempts[node] + 1), times))
        case NodeState.RUNNING:
            step.lose(node, WORKER_LOST, {"error": WORKER_LOST.as_dict()})
        case NodeState.RETRYING:
            step.unschedule(node)
            del run.late[node]
            step.dispatch([(node, run.attempts[node] + 1)])
        case NodeState.WAITING:
            run.late.pop(node, None)
            step.unpark(node)
        case _:
            step.unschedule(node)


def _remind(step: Step, what: int | str) -> int:
    """Nobody took it: publish again, and wait longer each time."""
    run = step.run
    run.late[what] += 1
    times = run.late[what]
    step.schedule(what, step.world.dispatch_lease * 2 ** min(times, _MOST_DOUBLINGS))
    return times


def _abandon(step: Step) -> None:
    """The run that this one is part of does not want it any more."""
    run = step.run
    step.unschedule(GIVE_UP)
    if run.closing:
        step.let_go()  # what it does at its end, it does
    elif run.left:
        run.stop = run.stop or GIVEN_UP
        step.abort()


def _deadline(step: Step) -> None:
    run = step.run
    step.unschedule(DEADLINE)
    if run.state is not RunState.STOPPING and not run.closing:
        run.failures[DEADLINE] = DEADLINE_PASSED
        run.cause = run.cause or DEADLINE
        step.abort()
