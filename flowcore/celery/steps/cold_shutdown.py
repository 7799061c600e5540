"""A cold shutdown that ends, whatever it waits for (a bootstep).

In: the signal for it. Out: at the worst a hard end, some seconds after the soft shutdown's timeout.

Celery's cold shutdown speaks with the broker, from a signal's handler, in the process that would
have to notice that nobody answers. A server that is frozen holds it up for ever.
"""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.platforms import EX_FAILURE

__all__ = ["ShutdownBound"]

_log = logging.getLogger(__name__)

#: Seconds for handing back what runs, after the soft shutdown.
_HAND_BACK = 10.0


class ShutdownBound(bootsteps.StartStopStep):
    """Starts the clock when a cold shutdown begins."""

    requires = ("celery.worker.components:Pool",)

    def start(self, worker: Any) -> None:
        """Celery calls this in the main thread, after it has installed its handlers."""
        if threading.current_thread() is not threading.main_thread():
            return
        remapped = os.environ.get("REMAP_SIGTERM") == "SIGQUIT"
        for signum in (signal.SIGQUIT, *((signal.SIGTERM,) if remapped else ())):
            handler = signal.getsignal(signum)
            if callable(handler):
                signal.signal(signum, _bounded(handler, worker))


def _bounded(handler: Callable[..., Any], worker: Any) -> Callable[..., Any]:
    def handle(*given: Any) -> None:
        patience = float(worker.app.conf.worker_soft_shutdown_timeout or 0) + _HAND_BACK
        clock = threading.Timer(patience, _end, [worker])
        clock.daemon = True
        clock.start()
        handler(*given)

    return handle


def _end(worker: Any) -> None:
    _log.critical("the shutdown does not end: this worker is ended without it")
    for process in list(getattr(getattr(worker.pool, "_pool", None), "_pool", None) or ()):
        if pid := getattr(process, "pid", None):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    os._exit(EX_FAILURE)
