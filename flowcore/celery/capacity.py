"""Number of nodes that the workers can run at a time.

In: the board of workers. Out: a number that is a few seconds old. Not here: who runs what.
"""

import contextlib
import time
from typing import Any

from flowcore.errors import FlowcoreError
from flowcore.ports.workers import WorkerRegistry

__all__ = ["Slots", "slots_of"]

#: Seconds for which a count is good: workers come and go slowly, and of many few at a time.
_FRESH = 5.0
_FRESH_PER_WORKER = 0.1


def slots_of(worker: Any) -> int:
    """Return how many nodes a Celery worker takes at a time: one that may grow, as if it had.

    Such a worker takes messages for all the processes that it may have, and begins them as it
    grows; its ``concurrency`` is a number of which it makes no use.
    """
    return int(worker.max_concurrency or worker.concurrency or 0)


class Slots:
    """Counts the slots of all workers, now and then."""

    def __init__(self, board: WorkerRegistry) -> None:
        """Ask ``board``, when first needed."""
        self._board = board
        self._count = 1
        self._until = 0.0

    def count(self) -> int:
        """Return the number of slots, at least 1."""
        now = time.monotonic()
        if now >= self._until:
            self._until = now + _FRESH
            with contextlib.suppress(FlowcoreError):  # the last count will do
                notes = self._board.workers()
                self._count = max(1, sum(note.concurrency for note in notes))
                self._until = now + max(_FRESH, _FRESH_PER_WORKER * len(notes))
        return self._count
