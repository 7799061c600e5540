"""Garbage in circles: collected when a worker's process is quiet.

In: a word for each attempt that leaves such garbage. Out: calls of Python's collector. Not here:
the attempts.

What ends by an exception in Celery's eyes (a retry, a wait, a failure) leaves the exception, its
traceback and all they hold in a circle. Python looks for circles among old objects so seldom that a
child grew from 70 to 180 MB; here it looks after some of them, in a second without any, or after
many. What a process began with is no garbage, and is not looked at again.
"""

import gc
import threading

from flowcore.forks import renew_after_fork

__all__ = ["GarbageCollection"]


class GarbageCollection:
    """Collects in a thread of its own, which sleeps while there is nothing to collect."""

    def __init__(self, *, few: int = 20, many: int = 500, pause: float = 1.0) -> None:
        """Start nothing yet.

        Args:
            few: Attempts worth a collection in a quiet moment.
            many: Attempts after which it is made all the same.
            pause: Seconds without such an attempt that make a quiet moment.
        """
        self._few, self._many, self._pause = few, many, pause
        self._thread: threading.Thread | None = None
        self._renew()
        renew_after_fork(self, GarbageCollection._renew)

    def note(self) -> None:
        """An attempt has left garbage."""
        self._count += 1  # two threads that count at once may count one: no harm
        if self._count < self._few:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="flowcore-garbage", daemon=True)
            self._thread.start()
        self._some.set()

    def _renew(self) -> None:
        self._count = 0
        self._some, self._still = threading.Event(), threading.Event()
        self._thread = None

    def _run(self) -> None:
        gc.collect()
        gc.freeze()
        while True:
            self._some.wait()
            before = self._count
            self._still.wait(self._pause)
            if self._count == before or self._count >= self._many:
                self._count = 0
                self._some.clear()
                gc.collect()
