"""Outages of the store: after one, those who hold something get the first word.

In: calls that reach the store, or do not. Out: a sweep that waits. Not here: the sweep (janitor).

While a store is away nobody can renew a lease or record an end, and its clock goes on. Once it is
back, leases have run out whose holders live: a sweep at once would have their nodes run again,
finished ones among them. So it waits until all holders have had a turn.

The same holds when this process itself was away, stopped or starved: it is the one that renews the
leases of those of its children that cannot, and it has not.
"""

import time
from collections.abc import Callable

from flowcore.errors import StoreFullError, StoreUnreachableError

__all__ = ["Outage"]

_AWAY = StoreUnreachableError, StoreFullError

#: Seconds within which whoever insists on a write has tried again.
_TRIED_AGAIN = 2.0


class Outage:
    """An outage, as one thread of a worker sees it."""

    def __init__(self, heartbeat: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Know of none.

        Args:
            heartbeat: Seconds between two renewals of a lease.
            clock: Seconds.
        """
        self._heartbeat = heartbeat
        self._patience = heartbeat + _TRIED_AGAIN
        self._clock = clock
        self._away = False
        self._until = float("-inf")
        self._due = float("inf")
        """When the next call was to come."""

    def note(self, call: Callable[[], float | None]) -> float | None:
        """Make a call, and learn from it that the store is away, or back."""
        try:
            pause = call()
        except _AWAY:
            self._away = True
            raise
        if self._away:
            self._away = False
            self._until = self._clock() + self._patience
        return pause

    def after(self, call: Callable[[], float]) -> float:
        """Make a call unless there is an outage, or was one a moment ago, here or there.

        Returns:
            The seconds until it is due again.
        """
        if self._away:
            return self._patience
        now = self._clock()
        if now - self._due > self._heartbeat:
            self._until = now + self._patience
        self._due = float("inf")
        pause = self._until - now
        if pause <= 0:
            try:
                pause = call()
            except _AWAY:
                self._away = True
                raise
        self._due = self._clock() + pause
        return pause
