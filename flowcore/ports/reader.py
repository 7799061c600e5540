"""The run reader: what is recorded of runs.

In: ids, filters. Out: records. Not here: any write (store).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from flowcore.ports.listing import Listing
from flowcore.run.record import DeadLetter, RunRecord, RunSummary
from flowcore.run.status import NodeState, RunState

__all__ = ["RunQuery", "RunReader"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Which runs to list, newest first."""

    states: frozenset[RunState] = frozenset()
    flow: str | None = None
    tag: str | None = None
    part_of: str | None = None
    """Runs that nodes of this one have started; others are not listed with it."""
    limit: int = 50


class RunReader(Protocol):
    """Reads runs; never changes one."""

    def record(self, run: str) -> RunRecord | None:
        """Return the run with all its nodes; None when unknown."""
        ...

    def summary(self, run: str) -> RunSummary | None:
        """Return the run's row; None when unknown."""
        ...

    def list_runs(self, query: RunQuery) -> Listing[RunSummary]:
        """Return matching runs, newest first, and which cannot be read."""
        ...

    def dead_letters(self, *, limit: int = 50) -> Listing[DeadLetter]:
        """Return nodes that were given up because their workers died, latest first."""
        ...

    def children(self, run: str) -> Mapping[str, int]:
        """Return the runs that nodes of a run have started, and by the number of which node."""
        ...

    def states(self, run: str, nodes: Sequence[int]) -> Mapping[int, NodeState]:
        """Return where these nodes stand."""
        ...

    def input(self, run: str) -> bytes:
        """Return the msgpack of the run's input; ``KeyError`` when unknown."""
        ...

    def outputs(self, run: str, nodes: Sequence[int] | None = None) -> Mapping[int, bytes]:
        """Return blobs of the outputs that exist, of these nodes or of all."""
        ...

    def sizes(self, run: str, nodes: Sequence[int] | None = None) -> Mapping[int, int]:
        """Return the bytes of the same blobs: how callers keep answers small."""
        ...
