"""Limits in memory: ``acquire.lua`` and ``release.lua`` of the Redis store said a second time.

In: what attempts want. Out: the same answers. It is shipped for tests, in one process.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from flowcore.ports.leases import LEASE
from flowcore.ports.limiter import Places, RateLimitState

__all__ = ["InMemoryLimiter"]

_POLL = 5.0


@dataclass(slots=True)
class _Kept:
    held: dict[str, float] = field(default_factory=dict)
    kept: dict[str, None] = field(default_factory=dict)
    """Who has a place without a worker."""
    line: dict[str, float] = field(default_factory=dict)
    """Who waits, the first first, and when each last asked."""
    since: dict[str, float] = field(default_factory=dict)
    """Since when they wait."""
    tat: float = 0.0
    apart: float = 0.0
    """Seconds between two turns, by the definition that gave the last one."""
    due: dict[str, float] = field(default_factory=dict)


class InMemoryLimiter:
    """Keeps limits in this process; safe to share between threads."""

    def __init__(self, *, clock: Callable[[], float] = time.time, lease: float = LEASE) -> None:
        """Count on ``clock``; a place that is not renewed for ``lease`` seconds is free again."""
        self._clock = clock
        self._lease = lease
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def acquire(
        self, holder: str, *, places: Places | None, rate: RateLimitState | None
    ) -> float | None:
        """Take a place, and a turn."""
        with self._lock:
            now = self._clock()
            if places is not None and not self._has_place(places, holder, now):
                return self._wait(places, holder, now)
            if rate is not None and (wait := self._turn(rate, holder, now)) > 0:
                return wait
            if places is not None:
                kept = self._of(places.name)
                if holder not in kept.kept:
                    kept.held[holder] = now + self._lease
                kept.line.pop(holder, None)
            return None

    def renew(self, held: Sequence[tuple[str, str]]) -> None:
        """Prolong places that are still held."""
        with self._lock:
            for name, holder in held:
                if holder in self._of(name).held:
                    self._of(name).held[holder] = self._clock() + self._lease

    def keep(self, name: str, holder: str) -> None:
        """Keep a place without renewals."""
        with self._lock:
            self._of(name).held.pop(holder, None)
            self._of(name).kept[holder] = None

    def kept(self, name: str) -> Sequence[str]:
        """The holders of such places."""
        with self._lock:
            return list(self._of(name).kept)

    def release(self, name: str, limit: int, holder: str) -> Sequence[str]:
        """Give a place back to the first in the line."""
        with self._lock:
            kept, now = self._of(name), self._clock()
            kept.held.pop(holder, None)
            kept.kept.pop(holder, None)
            _purge(kept.held, now)
            woken = list(kept.line)[: max(0, limit - len(kept.held) - len(kept.kept))]
            for one in woken:
                del kept.line[one]
                kept.held[one] = now + self._lease
            return woken

    def _has_place(self, places: Places, holder: str, now: float) -> bool:
        kept = self._of(places.name)
        if holder in kept.held or holder in kept.kept:
            return True
        _purge(kept.held, now)
        _purge(kept.line, now - 3 * _POLL)
        line = list(kept.line)
        ahead = line.index(holder) if holder in kept.line else len(line)
        return ahead < places.limit - len(kept.held) - len(kept.kept)

    def _wait(self, places: Places, holder: str, now: float) -> float:
        """Stand in the line, for as long as one may."""
        kept = self._of(places.name)
        kept.since = {one: at for one, at in kept.since.items() if one in kept.line}
        since = kept.since.setdefault(holder, now)
        left = math.inf if places.max_wait is None else places.max_wait - (now - since)
        if left <= 0:
            del kept.since[holder]
            kept.line.pop(holder, None)
            return math.inf
        kept.line[holder] = now
        return min(_POLL, left)

    def _turn(self, rate: RateLimitState, holder: str, now: float) -> float:
        kept = self._of(rate.name)
        due = kept.due.get(holder)
        if due is None:
            apart = rate.per / rate.limit
            # Turns given by a definition that has changed since are as far apart as this one says.
            tat = now + max(kept.tat - now, 0.0) * apart / (kept.apart or apart)
            due = tat + apart - rate.per
            kept.tat, kept.apart = tat + apart, apart
        if due > now:
            kept.due[holder] = due
            return due - now
        kept.due.pop(holder, None)
        return 0.0

    def _of(self, name: str) -> _Kept:
        return self._kept.setdefault(name, _Kept())


def _purge(entries: dict[str, float], now: float) -> None:
    for name in [name for name, until in entries.items() if until <= now]:
        del entries[name]
