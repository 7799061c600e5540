"""Schedules: flows that run at times.

In: schedules. Out: those that are due. Not here: when a schedule is due
(engine.background.scheduler).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

__all__ = ["CATCH_UP", "OVERLAP", "Schedule", "ScheduleStore", "unreadable"]

CATCH_UP = ("skip", "last", "all")
OVERLAP = ("allow", "skip", "cancel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A deployed flow that runs at times."""

    name: str
    flow: str
    """``name`` or ``name@version``; without a version the one that is deployed at each time."""
    cron: str | None = None
    """Five fields, or one of ``@hourly``, ``@daily``, ``@weekly``, ``@monthly``, ``@yearly``."""
    every: float | None = None
    """Seconds from one run to the next, counted from ``start``."""
    zone: str = "UTC"
    """The time zone of a cron expression, such as ``Europe/Berlin``."""
    input: Any = None
    """The runs' input; text may hold ``${{ scheduled_for }}``, the time that a run is for."""
    tags: tuple[str, ...] = ()
    priority: int = 5
    catch_up: Literal["skip", "last", "all"] = "skip"
    """What of the times that passed while nobody looked is made up for."""
    overlap: Literal["allow", "skip", "cancel"] = "skip"
    """What happens when it is time and the last run has not ended: it is cancelled, this time is
    skipped, or both run."""
    start: float = 0.0
    """Unix seconds at which it was made."""
    paused: bool = False
    due: float | None = None
    """Unix seconds of the next run."""
    last_run: str | None = None
    """The id of the latest run."""
    trouble: str | None = None
    """Why the latest time came to nothing."""
    revision: int = 0
    """Raised by each change: a change of what somebody else has changed is refused."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """For later releases."""

    @property
    def is_unreadable(self) -> bool:
        """True if it only stands for an entry that cannot be read; ``trouble`` says why."""
        return not self.flow


def unreadable(name: str, error: Exception) -> Schedule:
    """Stand for an entry that cannot be read, so that others can."""
    why = f"its entry cannot be read ({type(error).__name__}: {error}); remove it, or put it again"
    return Schedule(name=name, flow="", trouble=why)


class ScheduleStore(Protocol):
    """Keeps schedules."""

    def put(self, schedule: Schedule, *, expected: int | None) -> bool:
        """Keep a schedule under its name, if the one that is kept has this revision.

        Args:
            schedule: The schedule; it is kept with the next revision.
            expected: The revision that is to be replaced; None: there is to be none.

        Returns:
            Whether it was kept.
        """
        ...

    def get(self, name: str) -> Schedule | None:
        """Return a schedule."""
        ...

    def schedules(self) -> Sequence[Schedule]:
        """Return all of them, by name."""
        ...

    def due(self, now: float, *, limit: int = 1000) -> Sequence[Schedule]:
        """Return those that are due and not paused, the longest due first.

        Of an entry that cannot be read a stand-in is returned, here and in ``schedules``.
        """
        ...

    def remove(self, name: str) -> bool:
        """Forget a schedule; say whether there was one."""
        ...

    def now(self) -> float:
        """Return the time by the clock that counts, in Unix seconds."""
        ...
