"""Nodes that wait without a worker: for a time, a signal, or a Celery task of somebody else.

In: an attempt that waits from now on. Out: its outcome. Not here: what ends the wait (the store),
what the task gave (nodes.types.celery_task), sending it (ports.external_tasks).
"""

from flowcore.engine.attempts.attempt import AttemptContext
from flowcore.engine.values.event_limits import MOST_MESSAGE, shorten
from flowcore.errors import NodeTimeoutError, UsageError
from flowcore.nodes.types.builtin import Suspend
from flowcore.nodes.types.celery_task import PREFIX, TaskCall
from flowcore.ports.external_tasks import TaskSender, answer_name
from flowcore.ports.store import Outcome, Suspension
from flowcore.run.text import to_utf8

__all__ = ["forget_task", "send_task", "suspended"]


def suspended(park: Suspend, work: AttemptContext) -> Outcome:
    """Say what a node waits for."""
    reason = shorten(to_utf8(work.hidden_text(str(park.reason))), MOST_MESSAGE)
    signal = None if park.signal is None else to_utf8(park.signal)
    wait = Suspension(seconds=park.seconds, until=park.until, signal=signal, reason=reason)
    return Outcome(kind="waiting", wait=wait)


def send_task(call: TaskCall, work: AttemptContext, sender: TaskSender | None) -> Outcome:
    """Send a task, and say that its node waits for it.

    Raises:
        FlowcoreError: It cannot be sent.
    """
    if sender is None:
        raise UsageError(f"node {work.name!r} is a Celery task, which cannot be sent here")
    sender.send(call.task, call.args_given, call.kwargs_given, queue=call.queue, ticket=work.ticket)
    reason = f"waits for the Celery task {call.task}"
    wait = Suspension(seconds=call.timeout, signal=answer_name(work.ticket), reason=reason)
    return Outcome(kind="waiting", wait=wait)


def forget_task(work: AttemptContext, error: Exception, sender: TaskSender | None) -> None:
    """If a node was late that is somebody else's task, nobody waits for that any more."""
    is_task = work.plan.policy(work.node).uses.startswith(PREFIX)
    if sender is not None and is_task and isinstance(error, NodeTimeoutError):
        sender.revoke([work.ticket])
