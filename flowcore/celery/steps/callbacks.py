"""Callbacks as a part of a Celery worker (a bootstep), if it has any.

In: the worker's start and stop. Out: threads in its parent process.
"""

import threading
from typing import Any

from celery import bootsteps

from flowcore.engine.background.callbacks import CallbackRunner
from flowcore.errors import UsageError

__all__ = ["CallbackStep"]


class CallbackStep(bootsteps.StartStopStep):
    """Tells callbacks of runs while the worker runs."""

    def __init__(self, worker: Any, **options: Any) -> None:
        """Find the callbacks, or do not let the worker start."""
        super().__init__(worker, **options)
        try:
            self._teller: CallbackRunner = worker.app.flowcore_callbacks()
        except UsageError as error:
            raise SystemExit(f"flowcore: FLOWCORE_CALLBACKS: {error}") from None
        self._threads: list[threading.Thread] = []

    def start(self, worker: Any) -> None:  # noqa: ARG002  (celery's signature)
        """Begin telling."""
        for target in (self._teller.run, self._teller.renew):
            thread = threading.Thread(target=target, name="flowcore-callbacks", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, worker: Any) -> None:  # noqa: ARG002  (celery's signature)
        """End; a callback that hangs is left behind, and its event told again elsewhere."""
        self._teller.stop()
        for thread in self._threads:
            thread.join(timeout=2)
