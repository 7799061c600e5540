"""The one Celery task that runs nodes.

In: a run's id, numbers. Out: the function has been called; the chord hook records the attempt.
"""

from typing import Any

from celery import Celery, Task
from celery.exceptions import Ignore, Retry

from flowcore.backends.native.publish import NODE_TASK
from flowcore.ports.store import Ticket

__all__ = ["NodeFailed", "register_tasks"]


class NodeFailed(Exception):  # noqa: N818  (reads as a sentence in Celery's log and in Flower)
    """Tells Celery that a node failed; the record itself is in the store."""


def register_tasks(app: Celery) -> None:
    """Register the node task on an app."""

    @app.task(  # type: ignore[untyped-decorator]  # celery ships no types for it
        bind=True,
        name=NODE_TASK,
        ignore_result=True,
        acks_late=True,
        throws=(NodeFailed,),
        max_retries=None,
        track_started=True,
    )
    def node(self: Task, *, run: str, plan: str, node: int, attempt: int) -> str:
        request: Any = self.request
        host = app.flowcore.host()
        ticket = Ticket(run=run, node=node, attempt=attempt)
        done = host.run(ticket, plan, worker=request.hostname)
        if done is None:
            # A duplicate, or the run has stopped: nothing to show, nothing to record.
            raise Ignore
        outcome = done.outcome
        if outcome.kind == "retry":
            host.record(done, worker=request.hostname)
            text = f"{outcome.failure.type}: {outcome.failure.message}"
            raise Retry(text, exc=NodeFailed(text), when=outcome.delay)
        request.flowcore_attempt = done
        if outcome.kind == "succeeded":
            return "recorded"
        raise NodeFailed(f"{outcome.failure.type}: {outcome.failure.message}")
