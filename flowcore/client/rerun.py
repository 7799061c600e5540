"""Letting runs go on, and running them again, on a session.

In: a session and a run's id. Out: the run goes on, or a new one has begun. Not here: local workers,
which a handle starts for as long as its process lives, and a command leaves behind.
"""

import contextlib
from typing import Any

from flowcore.assembly.session import Session
from flowcore.client.unused_input import refuse_unread
from flowcore.engine.runs import control
from flowcore.errors import RunNotFoundError, UsageError
from flowcore.run.record import RunSummary
from flowcore.run.status import NodeState, RunState

__all__ = ["refuse_elsewhere", "rerun_run", "resume_run"]


def refuse_elsewhere(session: Session, found: RunSummary) -> None:
    """Raise for a run of another project, on the embedded server.

    Raises:
        UsageError: Its workers are those of another directory.
    """
    if session.embedded and found.namespace != session.runtime.settings.namespace:
        msg = f"run {found.id!r} belongs to another project: do this in that one's directory"
        raise UsageError(msg)


def resume_run(session: Session, run_id: str) -> RunState:
    """Let a run go on; see ``Run.resume``."""
    runtime = session.runtime
    slots = runtime.slots.count if runtime.settings.work_first else None
    state = control.resume(runtime.store, runtime.reader, runtime.dispatcher, run_id, slots=slots)
    if state.is_terminal:
        # No worker had a part in its end, so one has to be asked to tell Flower.
        _tell_end(session, run_id)
    return state


def rerun_run(
    session: Session, run_id: str, from_node: str | None, with_input: Any, *, id: str | None
) -> str:
    """Start a new run after the pattern of an old one, and return its id; see ``Run.rerun``."""
    runtime = session.runtime
    old = runtime.reader.summary(run_id)
    if old is None:
        raise RunNotFoundError(run_id)
    if from_node is not None and with_input is not None:
        _refuse_unread(session, old, from_node, with_input)
    new, submitted = control.rerun(
        runtime.store,
        runtime.reader,
        runtime.dispatcher,
        old,
        from_node=from_node,
        with_input=with_input,
        new_id=id,
        payloads=runtime.payloads,
    )
    if submitted.created:
        runtime.rows.sent(run=new, flow=old.flow, queue=runtime.default_queue)
        if submitted.state.is_terminal:
            _tell_end(session, new)
    return new


def _refuse_unread(session: Session, old: RunSummary, begin: str, given: Any) -> None:
    record = session.runtime.reader.record(old.id)
    with contextlib.suppress(KeyError):  # a plan that is no longer kept is refused in other words
        plan = session.runtime.store.get_plan(old.plan)
        settled = record.nodes.items() if record else ()
        done = {id for id, node in settled if node.state is NodeState.SUCCEEDED}
        refuse_unread(plan, begin, given, done)


def _tell_end(session: Session, run_id: str) -> None:
    runtime = session.runtime
    summary = runtime.reader.summary(run_id)
    if summary is not None:
        plan = runtime.store.get_plan(summary.plan)
        runtime.dispatcher.tell_end(run_id, plan, namespace=summary.namespace)
