"""Schedules in memory.

In: schedules. Out: those that are due. It is shipped for tests, in one process.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from flowcore.ports.schedules import Schedule

__all__ = ["InMemorySchedules"]


class InMemorySchedules:
    """Implements ``ScheduleStore`` in this process."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        """Count on ``clock``."""
        self._clock = clock
        self._kept: dict[str, Schedule] = {}
        self._lock = threading.Lock()

    def put(self, schedule: Schedule, *, expected: int | None) -> bool:
        """Keep a schedule, if the one that is kept has the expected revision."""
        with self._lock:
            old = self._kept.get(schedule.name)
            if (old.revision if old else None) != expected:
                return False
            self._kept[schedule.name] = replace(schedule, revision=(expected or 0) + 1)
            return True

    def get(self, name: str) -> Schedule | None:
        """Return a schedule."""
        return self._kept.get(name)

    def schedules(self) -> Sequence[Schedule]:
        """Return all of them, by name."""
        with self._lock:
            return sorted(self._kept.values(), key=lambda one: one.name)

    def due(self, now: float, *, limit: int = 1000) -> Sequence[Schedule]:
        """Return those that are due, the longest due first."""
        found = [one for one in self.schedules() if one.due is not None and one.due <= now]
        waiting = (one for one in found if not one.paused)
        return sorted(waiting, key=lambda one: one.due or 0.0)[:limit]

    def remove(self, name: str) -> bool:
        """Forget a schedule."""
        with self._lock:
            return self._kept.pop(name, None) is not None

    def now(self) -> float:
        """Return the clock's time."""
        return self._clock()
