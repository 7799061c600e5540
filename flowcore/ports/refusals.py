"""Messages that no worker would take: a bounded list of them, and their number.

In: what was refused. Out: the list, latest first. Not here: why a message is refused
(celery.gate.validation).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from flowcore.ports.listing import Listing

__all__ = ["Refusal", "RefusalLog"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A message that was refused."""

    time: float
    """When, in unix seconds by the clock of the worker that refused it."""
    queue: str
    reason: str
    shown: str
    """The beginning of the message, in printable ASCII."""
    worker: str = ""
    """Name of the worker."""


class RefusalLog(Protocol):
    """Keeps the latest refusals of all workers, and counts all."""

    def keep(self, refusals: Sequence[Refusal], *, count: int) -> None:
        """Add refusals, the latest last, and count so many: more than are kept in a flood."""
        ...

    def count(self) -> int:
        """Return how many there were since the list was last cleared."""
        ...

    def latest(self, *, limit: int = 50) -> Listing[Refusal]:
        """Return refusals, latest first."""
        ...

    def drop(self) -> int:
        """Clear the list and the count; return what the count was."""
        ...
