"""The time limits of the run store.

In: nothing. Out: Leases. Not here: obeying them (store, sweep).
"""

from dataclasses import dataclass

from flowcore.ports.leases import DISPATCH_LEASE, LEASE, MAX_LOST, RETENTION

__all__ = ["Leases"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """Durations, in seconds, after which a janitor steps in."""

    lease: float = LEASE
    """A running node whose worker has not renewed for this long is taken over."""
    dispatch: float = DISPATCH_LEASE
    """A dispatched node nobody has claimed for this long is published again."""
    retention: float = RETENTION
    """A finished run is kept for this long."""
    max_lost: int = MAX_LOST
    """A node that has lost its worker more often is failed: a dead letter."""
