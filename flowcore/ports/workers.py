"""Which workers are there: a board on which each worker renews a note about itself.

In: notes. Out: the notes that are fresh. Not here: who may run what (leases).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flowcore.ports.listing import Listing
from flowcore.run.protocol import WIRE, mismatch

__all__ = ["WorkerInfo", "WorkerRegistry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """A worker's description of itself."""

    id: str
    """Names this very process, among all that ever ran; workers of one name are several."""
    name: str
    """Celery's node name, such as ``celery@host``."""
    queues: tuple[str, ...]
    concurrency: int
    pool: str
    pid: int
    version: str = ""
    """The version of flowcore."""
    wire: int = WIRE
    """The wire number: see ``run.protocol``."""
    engines: Mapping[str, str] = field(default_factory=dict)
    """Backends that it could run, and the versions of their vendors' packages."""
    memory: int = 0
    """Bytes that the worker and its pool hold in memory."""
    stuck: int = 0
    """Slots whose nodes were given up and do not end."""

    def mismatch(self) -> str | None:
        """Return a sentence if it speaks another wire number than this process."""
        version = f", flowcore {self.version}" if self.version else ""
        return mismatch(f"worker {self.name} (process {self.pid}{version})", self.wire)


class WorkerRegistry(Protocol):
    """Notes of live workers; one that is not renewed disappears by itself."""

    def post(self, note: WorkerInfo, *, keep: float, callables: Sequence[str] = ()) -> None:
        """Write or renew a note for ``keep`` seconds.

        Args:
            note: About this worker.
            keep: Seconds.
            callables: What the worker's modules offer by name, ``module:name`` each; written now
                and then only.
        """
        ...

    def offer(self, id: str, callables: Sequence[str]) -> None:
        """Add what a worker's other processes offer by name; it goes with the worker's note.

        Args:
            id: The note's.
            callables: ``module:name`` each; written now and then only.
        """
        ...

    def remove(self, id: str) -> None:
        """Take a note down."""
        ...

    def count(self) -> int:
        """Return about how many there are; cheap, however many."""
        ...

    def workers(self) -> Listing[WorkerInfo]:
        """Return the fresh notes, by name, and which cannot be read."""
        ...

    def callables(self) -> frozenset[str]:
        """Return what live workers offer by name."""
        ...
