"""The end of a run, as monitors and the worker's log see it.

In: a run that has ended. Out: task events, a line in the log. Not here: sending events
(monitoring.task_events).
"""

import logging
from collections.abc import Sequence

from flowcore.celery.services import Services
from flowcore.errors import FlowcoreError
from flowcore.nodes.types.celery_task import PREFIX
from flowcore.ports.store import AttemptRef
from flowcore.run.record import NodeRecord, RunSummary
from flowcore.run.status import NodeState, RunState

__all__ = ["show_end"]


_log = logging.getLogger(__name__)

_CANCELLED = NodeState.CANCELLED


def show_end(services: Services, run: str, *, worker: str, state: RunState | None = None) -> None:
    """Bring the rows of a run that has ended to their ends, whoever ended it.

    A node that waited for a retry when its run was stopped sends nothing any more: it is told of
    here. One whose message is still on its way is told of by who receives that.

    Args:
        services: The ports.
        run: The run.
        worker: Who tells of it.
        state: How it has ended, if that is known.
    """
    inside = "/" in run  # part of another run, which has a row
    if inside and state is RunState.SUCCEEDED:
        return
    try:
        summary = services.reader.summary(run)
        if summary is None or not summary.state.is_terminal:
            return
        if not inside:
            _tell(summary)
            services.rows.ended(summary, hostname=worker)
        if summary.state is RunState.SUCCEEDED:
            return
        record = services.reader.record(run)
        nodes = record.nodes.values() if record else ()
        gone = [node for node in nodes if node.state is _CANCELLED and node.attempts]
        if not inside:
            names = [node.id for node in gone]
            services.rows.revoked(run=run, flow=summary.flow, nodes=names, hostname=worker)
        _revoke_tasks(services, summary, gone)
    except FlowcoreError as error:
        _log.debug("monitors were not notified of the end of run %s: %s", run, error)


def _tell(summary: RunSummary) -> None:
    """Write the one line of a run into the worker's log."""
    seconds = (summary.finished or 0) - (summary.started or summary.created)
    error = summary.error
    why = f": node {error.node!r}: {error.type}" if error is not None and error.node else ""
    _log.info(
        "run %s of %s %s after %.2f s, %d node%s%s",
        *(summary.id, summary.flow, summary.state.value, seconds, summary.total),
        *("" if summary.total == 1 else "s", why),
    )


def _revoke_tasks(services: Services, summary: RunSummary, gone: Sequence[NodeRecord]) -> None:
    """Nobody waits any more for the Celery tasks that these nodes have sent."""
    if not gone:
        return
    plan = services.store.get_plan(summary.plan)
    number = {id: at for at, id in enumerate(plan.ids)}
    tickets = [
        AttemptRef(run=summary.id, node=number[node.id], attempt=node.attempts)
        for node in gone
        if plan.policy(number[node.id]).uses.startswith(PREFIX)
    ]
    if tickets:
        services.tasks.revoke(tickets)
