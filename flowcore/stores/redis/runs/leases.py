"""The time limits of the run store.

In: nothing. Out: Leases. Not here: obeying them (store, sweep).
"""

from dataclasses import dataclass

__all__ = ["Leases"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """Durations, in seconds, after which a janitor steps in."""

    lease: float = 6.0
    """A running node whose worker has not renewed for this long is taken over."""
    dispatch: float = 5.0
    """A dispatched node nobody has claimed for this long is published again."""
    retention: float = 7 * 86400.0
    """A finished run is kept for this long."""
    max_lost: int = 3
    """A node that has lost its worker more often is failed: a dead letter."""
