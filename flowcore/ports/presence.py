"""Which workers are there: a board on which each worker renews a note about itself.

In: notes. Out: the notes that are fresh. Not here: who may run what (leases).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["WorkerBoard", "WorkerNote"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerNote:
    """What a worker says about itself."""

    name: str
    """Celery's node name, such as ``celery@host``."""
    queues: tuple[str, ...]
    concurrency: int
    pool: str
    pid: int


class WorkerBoard(Protocol):
    """Notes of live workers; one that is not renewed disappears by itself."""

    def post(self, note: WorkerNote, *, keep: float) -> None:
        """Write or renew a note for ``keep`` seconds."""
        ...

    def remove(self, name: str) -> None:
        """Take a note down."""
        ...

    def count(self) -> int:
        """Return about how many there are; cheap, however many."""
        ...

    def workers(self) -> Sequence[WorkerNote]:
        """Return the fresh notes, by name."""
        ...
