"""Celery's worker and its consumer, with the gate before the handler of tasks.

In: messages as kombu has read them. Out: those that are tasks, for Celery; refusals, acknowledged.
Not here: what is refused and why (validation), what kombu is given (redis_consumer,
rabbitmq_consumer).

Imported by workers alone. Behind the gate there is a net: should a message come through that Celery
stumbles over all the same, that message is given up, and not the worker.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from celery.apps.worker import Worker
from celery.worker import state
from celery.worker.consumer import Consumer

from flowcore.celery.gate.refusal import shown_error
from flowcore.celery.gate.validation import judge_task
from flowcore.celery.start import find_modules_here, import_modules, name_of_worker

__all__ = ["GatedConsumer", "GatedWorker"]

_log = logging.getLogger(__name__)


class GatedConsumer(Consumer):
    """Gives Celery's strategies what the gate lets in."""

    app: Any
    connection_errors: tuple[type[Exception], ...]
    channel_errors: tuple[type[Exception], ...]

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        """Put the gate before the handler, and a net below it."""
        handle = super().create_task_handler(*args, **kwargs)
        zone = self.app.conf.timezone

        def gated(message: Any) -> Any:
            if reason := judge_task(message, zone=zone):
                return self._refuse(message, reason)
            try:
                return handle(message)
            except (*self.connection_errors, *self.channel_errors):
                raise
            except Exception as error:
                if _is_ending():
                    raise
                _log.exception("unexpected error in Celery's message handler")
                return self._refuse(message, f"Celery fails on it: {shown_error(error)}")

        return gated

    def on_decode_error(self, message: Any, exc: BaseException) -> None:
        """Kombu cannot decompress or decode it."""
        self._refuse(message, f"its body cannot be read: {shown_error(exc)}")

    def on_unknown_message(self, body: Any, message: Any) -> None:  # noqa: ARG002  (celery's)
        """It names no task."""
        self._refuse(message, "it names no task")

    def on_invalid_task(self, body: Any, message: Any, exc: BaseException) -> None:  # noqa: ARG002
        """Celery's strategies do not take it."""
        self._refuse(message, f"it is not a valid task: {shown_error(exc)}")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """No task of that name is registered: Celery tells who asked for it."""
        super().on_unknown_task(body, message, exc)
        self._keep(message, "no task of this name is registered here")

    def _refuse(self, message: Any, reason: str) -> None:
        if not message.acknowledged:
            message.ack_log_error(_log, self.connection_errors)
        self._keep(message, reason)

    def _keep(self, message: Any, reason: str) -> None:
        info = message.delivery_info if isinstance(message.delivery_info, dict) else {}
        self.app.flowcore.refuser.refuse(
            {"headers": message.headers, "body": message.body},
            reason,
            queue=str(info.get("routing_key") or ""),
            worker=str(self.hostname),
        )


class GatedWorker(Worker):
    """Gives the pool what the consumer has let in; what the pool cannot begin is given up.

    Has a name of its own unless somebody named it, and finds modules in the working directory.
    """

    app: Any
    _quick_release: Any

    def __init__(self, app: Any = None, hostname: str | None = None, **options: Any) -> None:
        """Celery's command line makes one."""
        find_modules_here()
        super().__init__(app, name_of_worker(hostname), **options)

    def setup_includes(self, includes: Sequence[str] | None) -> None:
        """Import a user's modules, or say which one cannot be."""
        import_modules(includes or ())
        super().setup_includes(includes or ())

    def _process_task(self, req: Any) -> None:
        try:
            super()._process_task(req)  # type: ignore[misc]  # celery's types do not know it
        except OSError:
            raise
        except Exception as error:
            if _is_ending():
                raise
            _log.exception("the pool cannot begin task %s", req.id)
            release = getattr(self, "_quick_release", None)
            if release is not None:
                release()
            req.give_up(f"the pool cannot begin it: {shown_error(error)}")


def _is_ending() -> bool:
    """Return whether the worker shuts down: then what is not acknowledged is for others."""
    told: Any = state  # its types say None
    return told.should_stop is not None or told.should_terminate is not None
