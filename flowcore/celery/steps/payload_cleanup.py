"""The removal of large values with their runs, as a part of every Celery worker (a bootstep).

In: the worker's start and stop. Out: a thread in its parent process, apart from the janitor's,
since an object store may take its time. Not here: what is to be removed (engine.values.payloads).
"""

import logging
import threading
from typing import Any

from celery import bootsteps

from flowcore.engine.values.payloads import Payloads
from flowcore.errors import FlowcoreError

__all__ = ["TidyingStep"]

_log = logging.getLogger(__name__)


class TidyingStep(bootsteps.StartStopStep):
    """Starts with the worker; any worker may do it, and two at once do no harm."""

    def __init__(self, worker: Any, **options: Any) -> None:
        """Celery makes one for each worker."""
        super().__init__(worker, **options)
        self._stop = threading.Event()

    def start(self, worker: Any) -> None:
        """Begin: at once, since a local worker may not live long."""
        payloads: Payloads = worker.app.flowcore.services().payloads
        threading.Thread(
            target=self._run, args=(payloads,), name="flowcore-payloads", daemon=True
        ).start()

    def stop(self, worker: Any) -> None:  # noqa: ARG002  (celery's signature)
        """End; what is being removed is removed again by another worker."""
        self._stop.set()

    def _run(self, payloads: Payloads) -> None:
        while not self._stop.is_set():
            try:
                if gone := payloads.tidy():
                    _log.info("removed the payloads of %d runs that are gone", gone)
            except FlowcoreError as error:
                _log.warning("payloads of runs that are gone were not removed yet: %s", error)
            except Exception:  # noqa: BLE001
                # Whatever it is, the next look may go better.
                _log.exception("unexpected error in the removal of payloads")
            self._stop.wait(payloads.look)
