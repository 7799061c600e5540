"""Messages as the worker's parent process sees them.

In: Celery's news of a message. Out: what a worker that shuts down was doing goes to others, without
waiting for its leases. Not here: waiting for what is short (Celery's soft steps.cold_shutdown
does).
"""

import logging
from collections.abc import Callable
from typing import Any

from billiard.einfo import ExceptionInfo
from celery.exceptions import Reject
from celery.worker.request import Request
from celery.worker.state import task_ready

from flowcore.celery.dispatcher import NODE_TASK, UNIT_TASK
from flowcore.celery.gate.refusal import shown_error
from flowcore.celery.signing import accept
from flowcore.errors import FlowcoreError
from flowcore.ports.store import AttemptRef
from flowcore.ports.unit import UnitRef

__all__ = ["GuardedRequest", "NodeRequest", "SignedRequest"]

_log = logging.getLogger(__name__)


class GuardedRequest(Request):
    """A task whose end cannot end the worker: its error handlers are foreign data as well."""

    _connection_errors: Any

    def on_accepted(self, *args: Any, **kwargs: Any) -> None:
        """A process of the pool has begun it."""
        self._guard(super().on_accepted, *args, **kwargs)

    def on_timeout(self, *args: Any, **kwargs: Any) -> None:
        """It took longer than it may."""
        self._guard(super().on_timeout, *args, **kwargs)

    def on_failure(self, *args: Any, **kwargs: Any) -> None:
        """It has failed, or its process has."""
        self._guard(super().on_failure, *args, **kwargs)

    def give_up(self, reason: str) -> None:
        """Be done with a task that Celery cannot bring to its end."""
        task_ready(self)
        self.acknowledge()
        about: Any = self  # the types know neither our attribute of the app nor the message's
        about.app.flowcore.refuser.refuse(
            {"id": self.id, "task": self.type, "headers": about.message.headers},
            reason,
            queue=str((self.delivery_info or {}).get("routing_key") or ""),
            worker=self.hostname or "",
        )

    def _guard(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call one of Celery's handlers; of its errors only those of the connection are raised."""
        try:
            call(*args, **kwargs)
        except (OSError, *self._connection_errors):
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is, the worker goes on)
            _log.exception("Celery failed at the end of task %s", self.id)
            self.give_up(f"Celery fails at its end: {shown_error(error)}")


class SignedRequest(GuardedRequest):
    """A message that may be forged.

    No message of ours expires. Celery would take an expired one for revoked, and from then on every
    message with its id: a forged one would stop a run.
    """

    def maybe_expire(self) -> None:
        """Leave it to the task, which looks at the signature first."""


class NodeRequest(SignedRequest):
    """A message that carries nodes: cancelled, it gives them up."""

    def on_failure(
        self,
        exc_info: Any,
        send_failed_event: bool = True,  # noqa: FBT001, FBT002  (celery's)
        return_ok: bool = False,  # noqa: FBT001, FBT002  (celery's)
    ) -> None:
        """Called in the worker's parent; a child that its watchdog has ended was not lost."""
        request: Any = self
        bridge, pid = request.app.flowcore, self.worker_pid
        told = bridge.host().ended.pop(pid, None)
        if told is not None:
            exc_info = _as_info(told)
        elif pid and bridge.table is not None:
            request._context.flowcore_words = bridge.table.last_words(pid)  # noqa: SLF001
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:  # noqa: FBT001, FBT002  (celery's)
        """Called in the worker's parent, in a cold shutdown."""
        super().cancel(pool, signal=signal, emit_retry=emit_retry)
        request: Any = self  # the types know neither our attribute of the app nor its context
        host, worker = request.app.flowcore.host(), self.hostname or ""
        task = UNIT_TASK if self.name == UNIT_TASK else NODE_TASK
        try:
            given = accept(host.services.keys, request._context, task=task, chord=True)  # noqa: SLF001
            if task == UNIT_TASK:
                unit = UnitRef(run=given["run"], unit=given["unit"])
                host.lose_unit(unit, given["plan"], worker=worker)
            else:
                about = {name: given[name] for name in ("run", "node", "attempt")}
                ticket = AttemptRef(**about, turn=None)
                host.lose(ticket, given["plan"], worker=worker)
        except (FlowcoreError, Reject) as error:
            _log.warning("%s was not handed back: %s", self.id, error)
        else:
            _log.info("handed back %s", self.id)


def _as_info(error: Exception) -> Any:
    """Put an error into the form in which pools report errors."""
    try:
        raise error
    except type(error):
        return ExceptionInfo()
