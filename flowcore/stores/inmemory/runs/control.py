"""Pausing, resuming, taking over, signals: ``pause.lua`` and others said again.

In: a step. Out: the run moved. Not here: the moves themselves (step), what of a run is kept
(plan.reuse).
"""

from collections import deque
from collections.abc import Iterator

from flowcore.errors import OrphanError
from flowcore.plan.plan import Plan
from flowcore.plan.reuse import ResumePoint, after_failure, from_node
from flowcore.ports.store import Transition
from flowcore.ports.unit import Granularity
from flowcore.run.event import EventType
from flowcore.run.record import Origin, Parent
from flowcore.run.status import NodeState, RunState
from flowcore.stores.inmemory.runs.run import DEADLINE, RETENTION, StoreData, StoredRun
from flowcore.stores.inmemory.runs.settle import milliseconds
from flowcore.stores.inmemory.runs.step import Step

__all__ = ["adopt", "begin", "frontier_of", "pause", "resume", "signal"]


def pause(step: Step) -> None:
    """Hold what waits in the queue, and from now on what becomes ready."""
    run = step.run
    run.state = RunState.PAUSED
    nodes = [node for node, state in enumerate(run.nodes) if state is NodeState.DISPATCHED]
    for node in nodes:
        run.nodes[node] = NodeState.HELD
        step.unschedule(node)
        del run.late[node]
    step.take_slots(-len(nodes))
    run.held.extendleft(reversed(nodes))
    for unit, kept in list(run.units.items()):
        if not kept.adopted:
            del run.units[unit]
            del run.late[unit]
            step.unschedule(unit)
    step.event(EventType.RUN_PAUSED, nodes)


def signal(
    step: Step, name: str, value: bytes, *, most: int, node: int | None
) -> tuple[str, ...] | Transition:
    """Give a signal to those who wait for it, or keep it; or say where inside somebody waits.

    Returns:
        The runs inside; or why it was not taken.
    """
    run = step.run
    waiting = _waiting(run, name)
    found: tuple[str, ...] = ()
    refused: Transition | None = None
    if node is not None:
        if node not in waiting:
            waiting, refused = [], _answer(run, node, value)
    elif not waiting:
        found = tuple(sorted(_listeners(step.world, run, name)))
        refused = None if found else _keep(run, name, value, most=most)
    if refused is not None:
        return refused
    step.event(EventType.RUN_SIGNAL, data={"name": name})
    for one in waiting:
        step.unpark(one, value)
    return found


def _answer(run: StoredRun, node: int, value: bytes) -> Transition | None:
    """Keep the answer to a question that is not asked yet; refuse a second one."""
    if run.nodes[node].is_terminal:
        return Transition(accepted=False, refused="answered")
    first = run.resumed.get(node, run.answers.get(node))
    if first is not None:
        return Transition(accepted=False, refused="answered", answer=first)
    run.answers[node] = value
    return None


def _keep(run: StoredRun, name: str, value: bytes, *, most: int) -> Transition | None:
    """Keep a signal behind those of its name."""
    if most == 0:
        return Transition(accepted=False, refused="nobody")
    if len(run.signals.get(name, ())) >= most:
        return Transition(accepted=False, refused="full")
    run.signals.setdefault(name, deque()).append(value)
    return None


def _waiting(run: StoredRun, name: str) -> list[int]:
    # One that was cancelled while it waited waits no more, though its run has an epilogue yet.
    return sorted(
        node
        for node, what in run.waits.items()
        if what == name and run.nodes[node] is NodeState.WAITING
    )


def _listeners(world: StoreData, run: StoredRun, name: str) -> Iterator[str]:
    """The runs inside a run that have nodes which wait for a signal."""
    for child in run.open_children:
        inner = world.runs[child]
        if _waiting(inner, name):
            yield child
        yield from _listeners(world, inner, name)


def adopt(world: StoreData, run: StoredRun, parent: Parent) -> StoredRun:
    """Note that a run is part of another, which is returned.

    Raises:
        OrphanError: The attempt is not running any longer.
    """
    if not world.may_start(parent):
        msg = f"run {run.new.id!r}: the attempt that wanted it is not running any longer"
        raise OrphanError(msg, run_id=run.new.id)
    over = world.runs[parent.run]
    over.children[run.new.id] = parent.node
    over.open_children.add(run.new.id)
    run.parent = parent
    return over


def resume(step: Step, grain: Granularity | None, parent: Parent | None) -> bool:
    """Let a run go on; False when it is not one that waits for that."""
    run = step.run
    if not run.is_paused and run.state not in {RunState.FAILED, RunState.CANCELLED}:
        return False
    if parent is not None:
        adopt(step.world, run, parent)
    step.share_out(grain)
    step.spare, step.idle = -1, False  # who resumes a run keeps nothing of it
    if run.is_paused:
        _begin(run)
        step.event(EventType.RUN_RESUMED)
        step.release_children()  # one of them may have begun while somebody told the others
        if run.plan.max_parallel:
            step.release()
        else:
            ready = [(node, run.attempts[node] + 1) for node in run.held]
            run.held.clear()
            step.place(ready)
        return True
    frontier = after_failure(run.plan, run.nodes, run.dead)
    _revive(step)
    _reopen(run, frontier)
    if run.started is not None and run.plan.timeout:
        step.schedule(DEADLINE, milliseconds(run.plan.timeout))
    step.event(EventType.RUN_RESUMED, frontier.again)
    step.arrive((), frontier=frontier)
    return True


def _begin(run: StoredRun) -> None:
    run.state = RunState.PENDING if run.started is None else RunState.RUNNING


def _revive(step: Step) -> None:
    """The run is no longer one that has ended."""
    run, world = step.run, step.world
    _begin(run)
    run.finished = run.cause = run.stop = None
    run.closing = False
    run.resumes += 1
    step.unschedule(RETENTION)
    world.use_plan(run.plan)
    world.bury(run.new.id)


def _reopen(run: StoredRun, frontier: ResumePoint) -> None:
    """Nodes of a run that has ended are to run again, with attempts that nobody has had."""
    for counts in (
        run.joins,
        run.lost,
        run.late,
        run.base,
        run.held,
        run.waits,
        run.awaited,
        run.told,
        run.signals,
        run.answers,
        run.resumed,
        run.deferred,
    ):
        counts.clear()
    run.failures.pop(DEADLINE, None)
    for node in frontier.again:
        run.nodes[node] = NodeState.PENDING
        run.base[node] = run.attempts[node]
        run.outputs.pop(node, None)
        run.failures.pop(str(node), None)
        run.dead.pop(node, None)
    run.left, run.active = len(frontier.again), 0


def frontier_of(world: StoreData, origin: Origin, plan: Plan) -> ResumePoint:
    """Return where a run of that origin begins; ``KeyError`` when there is none."""
    old = world.runs[origin.run]
    return from_node(plan, old.nodes, old.dead, plan.ids.index(origin.node or ""))


def begin(step: Step, frontier: ResumePoint | None) -> None:
    """Dispatch what a new run begins with; what it need not run comes from another run."""
    run, origin = step.run, step.run.new.origin
    if frontier is None or origin is None:
        step.place([(node, 1) for node in run.plan.starts])
        return
    old = step.world.runs[origin.run]
    kept = list(frontier.kept(len(run.nodes)))
    for node in kept:
        run.nodes[node] = old.nodes[node]
    run.outputs.update({node: old.outputs[node] for node in kept if node in old.outputs})
    run.dead.update({node: old.dead[node] for node in kept if node in old.dead})
    run.left -= len(kept)
    for kind, state in (
        (EventType.NODES_REUSED, NodeState.SUCCEEDED),
        (EventType.NODES_SKIPPED, NodeState.SKIPPED),
    ):
        if nodes := [node for node in kept if run.nodes[node] is state]:
            step.event(kind, nodes)
    step.arrive((), frontier=frontier)
