"""Watching many runs at once.

In: runs, and how far each was read. Out: what came. Not here: who wants to know (client.hub).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flowcore.plan.plan import Plan
from flowcore.run.event import Event
from flowcore.run.status import RunState

__all__ = ["Arrived", "RunWatch", "Standing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """Result of a wait."""

    events: Mapping[str, Sequence[Event]] = field(default_factory=dict)
    """New events, by run."""
    ended: frozenset[str] = frozenset()
    """Runs whose end was waited for and has come."""
    failed: Mapping[str, Exception] = field(default_factory=dict)
    """Runs that cannot be read, and why: others can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """State of a run, for those who wait for it."""

    state: RunState
    last: int
    """Id of its latest event."""


class RunWatch(Protocol):
    """Waits for news of many runs of one server, on one connection; one thread uses it."""

    def wait(
        self, logs: Mapping[str, tuple[Plan, int]], ends: Sequence[str], *, block: float
    ) -> Arrived:
        """Wait up to ``block`` seconds for the first news.

        Args:
            logs: Runs whose events are wanted, each with its plan and the id of the last event
                that is known.
            ends: Runs whose end is waited for.
            block: Seconds.
        """
        ...

    def interrupt(self) -> None:
        """Let a wait of another thread end soon; nothing is sent from here."""
        ...

    def standings(self, runs: Sequence[str]) -> Mapping[str, Standing]:
        """Say where runs stand; one that is gone is left out."""
        ...

    def close(self) -> None:
        """Close it for good."""
        ...
