"""The port of callbacks on workers: whose turn it is to tell of a run.

In: a worker that has time. Out: a run, and how far it was told of. Not here: events, calls.
"""

from dataclasses import dataclass
from typing import Protocol

__all__ = ["CallbackQueue", "Turn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A run that one worker tells of, until its lease is over."""

    run: str
    after: int
    """Id of the last event that was told."""
    token: int
    """Fences: a later turn of the same run has a higher one."""
    server: int = 0


class CallbackQueue(Protocol):
    """Gives each run with untold events to one worker at a time."""

    def take(self, *, lease: float) -> Turn | None:
        """Return a run that nobody tells of now; None when there is none."""
        ...

    def keep(
        self, turn: Turn, after: int, *, again: float, over: bool = False, patience: float = 0.0
    ) -> bool:
        """Note how far it was told; False if another has it.

        Args:
            turn: What ``take`` gave.
            after: Id of the last event that was told.
            again: Seconds until somebody may take it.
            over: Its last event was told; only a resume brings it back.
            patience: A run without news may be left alone for longer, a tenth of the time for
                which it was quiet, but for no more seconds than this.
        """
        ...
