"""Celery's chord hook, answered from the run's web.

In: Celery's call when a task that carries a chord has ended. Out: the attempt is recorded.

Celery keeps a chord's count in its result backend, and forgets it there. A node belongs to the
chords of its run's plan, so the hook hands the attempt to the run store, whose one script counts
them all down. ``super()`` serves tasks that are no nodes: a user's own chords on the same app.
"""

from typing import Any

from celery.backends.redis import RedisBackend, SentinelBackend
from celery.exceptions import Reject, TaskRevokedError, TimeLimitExceeded
from celery.exceptions import WorkerLostError as PoolChildLostError

from flowcore.celery.attempt_end import record_end
from flowcore.celery.dispatcher import NODE_TASK, UNIT_TASK
from flowcore.celery.node_runner import NodeHost
from flowcore.celery.parent_records import lose_for, overrun
from flowcore.celery.signing import accept
from flowcore.engine.attempts.work_table import RunningWork
from flowcore.ports.store import AttemptRef
from flowcore.ports.unit import UnitRef

__all__ = ["SentinelWebBackend", "WebBackend"]


class WebBackend(RedisBackend):
    """Celery's Redis result backend whose chord hook knows flowcore's nodes."""

    app: Any

    def on_chord_part_return(
        self,
        request: Any,
        state: str,
        result: Any,
        propagate: bool | None = None,  # noqa: FBT001  (celery's signature)
        **kwargs: Any,
    ) -> None:
        """Record a node's attempt; called by Celery in the process that ran it.

        It is also called in the worker's parent process when a child died or was killed for
        exceeding its hard time limit, and when a message was revoked; then no attempt comes
        with the request.
        """
        task = getattr(request, "task", None)
        if task == UNIT_TASK:
            _end_of_unit(self.app.flowcore.host(), request, result)
            return
        if task != NODE_TASK:
            super().on_chord_part_return(request, state, result, propagate, **kwargs)
            return
        host = self.app.flowcore.host()
        attempt = getattr(request, "flowcore_attempt", None)
        if attempt is not None:
            queue = (request.delivery_info or {}).get("routing_key") or ""
            record_end(host, attempt, worker=request.hostname, queue=queue)
        else:
            _without_attempt(host, request, result)


def _end_of_unit(host: NodeHost, request: Any, result: Any) -> None:
    """A unit records its nodes itself, but if its process is dead."""
    if isinstance(result, PoolChildLostError) and (given := _given(host, request, UNIT_TASK)):
        unit = UnitRef(run=given["run"], unit=given["unit"])
        lose_for(host, unit, given["plan"], _words(request), worker=request.hostname or "")


class SentinelWebBackend(WebBackend, SentinelBackend):
    """The same on the primary that Sentinels name."""


def _without_attempt(host: NodeHost, request: Any, result: Any) -> None:
    if not isinstance(result, PoolChildLostError | TimeLimitExceeded | TaskRevokedError):
        return
    worker = request.hostname or ""
    if not (given := _given(host, request, NODE_TASK)):
        return
    ticket = AttemptRef(run=given["run"], node=given["node"], attempt=given["attempt"], turn=None)
    if isinstance(result, TimeLimitExceeded):
        overrun(host, ticket, given["plan"], worker=worker)
    elif isinstance(result, PoolChildLostError):
        lose_for(host, ticket, given["plan"], _words(request), worker=worker)
    else:
        killed = result.args == ("terminated",)
        host.revoke(ticket, given["plan"], worker=worker, killed=killed)


def _words(request: Any) -> RunningWork | None:
    """Return the parent's description of what a dead process was doing."""
    words: RunningWork | None = getattr(request, "flowcore_words", None)
    return words


def _given(host: NodeHost, request: Any, task: str) -> dict[str, Any] | None:
    """Return the arguments of a message that never reached its task, if it can be trusted."""
    try:
        return accept(host.services.keys, request, task=task, chord=True)
    except Reject:
        return None
