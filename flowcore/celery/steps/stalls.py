"""Ending a worker that has stopped consuming, so that its supervisor starts it again (a bootstep).

In: what the worker receives, and what waits in its queues. Out: at the worst the end of the worker.

After a connection was reset, Celery's consumer has been seen to go on without receiving anything
(celery#10205). Such a worker renews its leases and looks alive; only its queue tells.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from celery import bootsteps
from celery.worker import state

from flowcore.celery.capacity import slots_of

__all__ = ["Stall", "StallWatch"]

_log = logging.getLogger(__name__)

#: Exit status of a worker that ended itself: "temporary failure", sysexits.h.
EX_TEMPFAIL = 75

#: Seconds that an orderly end may take: the part that hangs may be the one that would end it.
_ORDERLY = 10.0


class Stall:
    """Says whether a worker with free slots has received nothing for too long, while work waits."""

    def __init__(self, *, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow ``patience`` seconds."""
        self._patience = patience
        self._clock = clock
        self._received = -1
        self._since = clock()

    def look(self, *, received: int, full: bool, waiting: Callable[[], int]) -> bool:
        """Look once.

        Args:
            received: Messages that the worker has received so far.
            full: Whether it has as many as it may have.
            waiting: Counts the messages in its queues; asked only when need be.
        """
        now = self._clock()
        if received != self._received or full or not waiting():
            self._received, self._since = received, now
        return now - self._since >= self._patience


class StallWatch(bootsteps.StartStopStep):
    """Looks from a thread of its own: the worker's own loop may be what hangs."""

    def __init__(self, worker: Any, **options: Any) -> None:
        """Celery makes one for each worker."""
        super().__init__(worker, **options)
        self._stop = threading.Event()

    def start(self, worker: Any) -> None:
        """Begin to look."""
        patience = worker.app.flowcore.options.stalled
        arguments = (worker, Stall(patience=patience), patience / 10)
        threading.Thread(
            target=self._run, args=arguments, name="flowcore-stalls", daemon=True
        ).start()

    def stop(self, worker: Any) -> None:  # noqa: ARG002  (celery's signature)
        """Look no more."""
        self._stop.set()

    def terminate(self, worker: Any) -> None:
        """Look no more, in a cold shutdown."""
        self.stop(worker)

    def _run(self, worker: Any, stall: Stall, pause: float) -> None:
        while not self._stop.wait(pause):
            stalled = stall.look(
                received=_received(worker),
                full=len(state.reserved_requests) >= _most(worker),
                waiting=lambda: _waiting(worker),
            )
            if stalled:
                _log.critical("this worker receives nothing though messages wait: it ends itself")
                os.kill(os.getpid(), signal.SIGQUIT)
                time.sleep(_ORDERLY)
                os._exit(EX_TEMPFAIL)


def _received(worker: Any) -> int:
    """Count what the worker has received: Celery counts tasks, and not what is refused."""
    refused: int = worker.app.flowcore.refuser.count
    return sum(state.total_count.values()) + refused


def _most(worker: Any) -> int:
    """Return how many messages a worker takes: commands such as ``pool_shrink`` may lower it."""
    prefetch = getattr(getattr(worker.consumer, "qos", None), "value", None)
    slots = slots_of(worker) or 1
    return min(slots, prefetch) if prefetch else slots


def _waiting(worker: Any) -> int:
    """Count what waits in the queues the worker consumes now."""
    consumer = getattr(getattr(worker, "consumer", None), "task_consumer", None)
    names = [queue.name for queue in (consumer.queues if consumer else ())]
    waiting: int = worker.app.flowcore.services().dispatcher.waiting(*names)
    return waiting
