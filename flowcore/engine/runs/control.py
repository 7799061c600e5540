"""Control of runs that exist: pause, resume, run again.

In: a run's id. Out: the run has moved, and messages are sent; or an error that names the way out.
Not here: stopping one (the store does all of that), what of a run is kept (plan.reuse).
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Any

from flowcore.engine.runs.compensation import undone
from flowcore.engine.runs.granularity import DurationEstimates
from flowcore.engine.runs.submit import submit
from flowcore.engine.values.payloads import Payloads
from flowcore.errors import RunNotFoundError, RunStateError, UsageError, WorkerLostError
from flowcore.nodes.types.structured import EPILOGUE
from flowcore.plan.plan import Plan
from flowcore.ports.dispatcher import Dispatcher
from flowcore.ports.store import Resumed, RunReader, RunStore, SubmitResult
from flowcore.run.record import Origin, RunRecord, RunSummary
from flowcore.run.status import NodeState, RunState
from flowcore.run.wire import unpack

__all__ = ["pause", "require_dead_letter", "rerun", "resume"]

#: Runs of more nodes than this may have so many waiting that they should travel together.
_MANY = 16


def pause(store: RunStore, reader: RunReader, run: str) -> RunState:
    """Hold a run, and those that its nodes have started.

    Raises:
        RunNotFoundError: No run has this id.
        RunStateError: It has ended or is being stopped.
    """
    state = store.pause(run)
    if state is None:
        raise RunNotFoundError(run)
    if state is RunState.STOPPING:
        msg = f"run {run!r} is being stopped and cannot be paused; see 'flowcore watch {run}'"
        raise RunStateError(msg, run_id=run)
    if state is not RunState.PAUSED:
        msg = f"run {run!r} has ended ({state}): there is nothing to pause"
        raise RunStateError(msg, run_id=run)
    # After it: it starts no more of them, or none that are not held at once.
    _pause_inside(store, reader, run)
    return state


def _pause_inside(store: RunStore, reader: RunReader, run: str) -> None:
    """Hold the runs inside one that is paused, for as long as nobody else lets that go on."""
    for child in _open_children(reader, run):
        if store.pause(child, inside=True) is RunState.PAUSED:
            _pause_inside(store, reader, child)


def _open_children(reader: RunReader, run: str) -> list[str]:
    """The runs that a run's nodes have started and that have not ended."""
    rows = map(reader.summary, reader.children(run))
    return [row.id for row in rows if row is not None and not row.state.is_terminal]


def resume(
    store: RunStore,
    reader: RunReader,
    dispatcher: Dispatcher,
    run: str,
    *,
    slots: Callable[[], int] | None = None,
) -> RunState:
    """Let a run go on that is paused, or that has failed or was cancelled.

    Args:
        store: The run store.
        reader: Reads it.
        dispatcher: Rings for what is ready.
        run: Its id.
        slots: How many nodes the workers can run at a time; None: none may travel together.

    Raises:
        RunNotFoundError: No run has this id.
        RunStateError: It is running or has succeeded, or its plan is no longer kept.
    """
    summary = reader.summary(run)
    if summary is None:
        raise RunNotFoundError(run)
    plan = _plan_of(store, summary)
    if summary.state.is_terminal:
        _refuse_final(reader, summary, plan)
    for child in _open_children(reader, run) if summary.state is RunState.PAUSED else ():
        if _is_paused(reader, child):
            with suppress(RunStateError, RunNotFoundError):  # somebody was faster
                resume(store, reader, dispatcher, child, slots=slots)
    grain = None
    if slots is not None and len(plan) > _MANY:
        grain = DurationEstimates().grain(plan, queue=None, slots=slots())
    resumed = store.resume(run, grain=grain)
    if resumed is None or not resumed.resumed:
        raise _cannot(run, resumed)
    if resumed.dispatch is not None:
        dispatcher.publish(resumed.dispatch, plan)
    return resumed.state


def _is_paused(reader: RunReader, run: str) -> bool:
    row = reader.summary(run)
    return row is not None and row.state is RunState.PAUSED


def _refuse_final(reader: RunReader, summary: RunSummary, plan: Plan) -> None:
    """Some runs that have ended are not to go on.

    Raises:
        RunStateError: It is part of another, or has undone what it did.
    """
    run = summary.id
    if summary.parent is not None:
        over = summary.parent.run
        row = reader.summary(over)
        if run == f"{over}/{EPILOGUE}" and row is not None and row.state.is_terminal:
            return  # what was to be done at the end may be done after it, too
        msg = (
            f"run {run!r} is part of run {over!r}, and is resumed with it; "
            f"'flowcore resume {over}' runs it again from where it failed"
        )
        raise RunStateError(msg, run_id=run)
    _refuse_undone(reader, summary, plan)


def _refuse_undone(reader: RunReader, summary: RunSummary, plan: Plan) -> None:
    """Refuse to resume from nodes that the run has undone.

    Raises:
        RunStateError: It has undone what it did.
    """
    run = summary.id
    if summary.state is RunState.SUCCEEDED:
        return
    if undone(reader, run, plan):
        closing = f"{run}/{EPILOGUE}"
        row = reader.summary(closing)
        hint = f"'flowcore rerun {run}' runs it from the beginning"
        if row is not None and row.state in {RunState.FAILED, RunState.CANCELLED}:
            hint += f", 'flowcore resume {closing}' what has failed of undoing it"
        msg = f"run {run!r} has undone what it did: there is nothing to resume from; {hint}"
        raise RunStateError(msg, run_id=run)


def _cannot(run: str, resumed: Resumed | None) -> RunNotFoundError | RunStateError:
    if resumed is None:
        return RunNotFoundError(run)
    return RunStateError(_why_not(run, resumed.state), run_id=run)


def _why_not(run: str, state: RunState) -> str:
    if state is RunState.SUCCEEDED:
        return f"run {run!r} has succeeded: there is nothing to resume; 'flowcore rerun {run}'"
    if state is RunState.STOPPING:
        return f"run {run!r} is being stopped; resume it once it has ended: 'flowcore watch {run}'"
    return f"run {run!r} is {state}: there is nothing to resume; 'flowcore watch {run}'"


def rerun(  # noqa: PLR0913  (the ports, and what the new run is made of)
    store: RunStore,
    reader: RunReader,
    dispatcher: Dispatcher,
    old: RunSummary,
    *,
    from_node: str | None = None,
    with_input: Any = None,
    new_id: str | None = None,
    payloads: Payloads | None = None,
) -> tuple[str, SubmitResult]:
    """Start a new run after the pattern of an old one.

    Args:
        store: The run store.
        reader: Reads it.
        dispatcher: Rings for what is ready.
        old: The old run.
        from_node: Where to begin; what is neither this nor after it, and has succeeded, is taken
            over. None: from the beginning.
        with_input: The input; a map is laid over the old one, key by key. None: the old one.
        new_id: The id of the new run; None makes one.
        payloads: Keeps a large input elsewhere.

    Raises:
        RunNotFoundError: The old run is gone.
        RunStateError: The old run has not ended, or its plan is no longer kept.
        UsageError: There is no such node; or the id is that of another run.
    """
    plan = _plan_of(store, old)
    if from_node is not None:
        _check_start(plan, old, from_node)
        _refuse_undone(reader, old, plan)
    origin = Origin(run=old.id, node=from_node)
    try:
        packed = reader.input(old.id)
        given = payloads.unpack(packed, what="input of the run") if payloads else unpack(packed)
        given = _merge_input(given, with_input)
        run, submitted = submit(
            store,
            dispatcher,
            plan,
            input=given,
            run_id=new_id,
            tags=old.tags,
            namespace=old.namespace,
            priority=old.priority,
            payloads=payloads,
            origin=origin,
        )
    except KeyError as error:
        raise RunNotFoundError(old.id) from error
    if not submitted.created:
        found = reader.summary(run)
        if found is not None and found.origin != origin:
            msg = f"run {run!r} exists already, with another origin; give this run another id"
            raise UsageError(msg)
    return run, submitted


def _check_start(plan: Plan, old: RunSummary, node: str) -> None:
    if node not in plan.ids:
        near = get_close_matches(node, plan.ids, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"see 'flowcore status {old.id}'"
        msg = f"run {old.id!r} has no node {node!r}; {hint}"
        raise UsageError(msg)
    if not old.state.is_terminal:
        msg = (
            f"run {old.id!r} is {old.state}: what it has done can be taken over once it has ended; "
            f"'flowcore watch {old.id}' waits for that, 'flowcore cancel {old.id}' ends it"
        )
        raise RunStateError(msg, run_id=old.id)


def _merge_input(old: Any, new: Any) -> Any:
    if new is None:
        return old
    return {**old, **new} if isinstance(old, Mapping) and isinstance(new, Mapping) else new


def _plan_of(store: RunStore, summary: RunSummary) -> Plan:
    try:
        return store.get_plan(summary.plan)
    except KeyError as error:
        msg = (
            f"the plan of run {summary.id!r} is no longer kept; "
            "start a new run of its flow: 'flowcore run FLOW'"
        )
        raise RunStateError(msg, run_id=summary.id) from error


def require_dead_letter(record: RunRecord, node: str | None) -> None:
    """Raise unless a node was given up because its workers died.

    Args:
        record: The run.
        node: The node it has to be; None: any.

    Raises:
        RunStateError: There is no (such) dead letter.
    """
    dead = [
        name
        for name, each in record.nodes.items()
        if each.state is NodeState.FAILED and each.error and each.error.code == WorkerLostError.code
    ]
    if dead and node in {None, *dead}:
        return
    what = f"node {node!r} of run {record.id!r} is not a dead letter" if node else None
    msg = f"{what or f'run {record.id!r} has no dead letter'}; 'flowcore list --dead' shows them"
    raise RunStateError(msg, run_id=record.id)
