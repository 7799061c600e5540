"""Limits that hold on all workers together: how many at a time, how many in a time.

In: what an attempt wants. Out: it has it, or when to come back. Not here: whose limits (plan).

A place is held until it is given back, or until its lease ends: a holder that dies heals by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Limiter", "Places", "RateLimitState"]


@dataclass(frozen=True, slots=True)
class Places:
    """At most so many at a time."""

    name: str
    limit: int
    max_wait: float | None = None
    """Seconds that one may wait for a place; None: for ever."""


@dataclass(frozen=True, slots=True)
class RateLimitState:
    """At most so many at once, and on average so many in ``per`` seconds.

    The generic cell rate algorithm: ITU-T I.371, 2004.
    """

    name: str
    limit: int
    per: float


class Limiter(Protocol):
    """Keeps the limits; every call is atomic and safe to repeat."""

    def acquire(
        self, holder: str, *, places: Places | None, rate: RateLimitState | None
    ) -> float | None:
        """Take a place, and a turn.

        Args:
            holder: Names the attempt.
            places: How many may run at a time.
            rate: How many may begin in a time.

        Returns:
            None when it may begin; else the seconds after which to ask again, or infinity for one
            that has waited for a place as long as it may. Who waits for a place is in a line, and
            may be woken earlier.
        """
        ...

    def renew(self, held: Sequence[tuple[str, str]]) -> None:
        """Prolong places, given as (name of the limit, holder)."""
        ...

    def keep(self, name: str, holder: str) -> None:
        """Keep a place without renewals: its holder waits without a worker.

        It is free when it is released, be it by somebody who has found that nobody waits there.
        """
        ...

    def kept(self, name: str) -> Sequence[str]:
        """The holders of such places."""
        ...

    def release(self, name: str, limit: int, holder: str) -> Sequence[str]:
        """Give a place back; return the holders that now have one and are to be woken."""
        ...
