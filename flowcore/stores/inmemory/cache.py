"""Outputs that many may use, in memory.

In: packed outputs. Out: the same. It is shipped for tests, in one process.
"""

import threading
import time
from collections.abc import Callable

__all__ = ["InMemoryCache"]


class InMemoryCache:
    """Implements ``Cache`` in this process; safe to share between threads."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        """Count on ``clock``."""
        self._clock = clock
        self._kept: dict[str, tuple[bytes, float]] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """Return what is kept under a key."""
        with self._lock:
            value, until = self._kept.get(key, (b"", 0.0))
            return value if until > self._clock() else None

    def put(self, key: str, value: bytes, *, ttl: float) -> None:
        """Keep a value for ``ttl`` seconds."""
        with self._lock:
            now = self._clock()
            self._kept = {one: kept for one, kept in self._kept.items() if kept[1] > now}
            self._kept[key] = (value, now + ttl)
