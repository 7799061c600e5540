"""Reading what the in-memory store keeps: ``RunReader``.

In: ids, filters. Out: records. Not here: how a run is shown (views), any change (store).
"""

import threading
from collections.abc import Mapping, Sequence

from flowcore.ports.listing import Listing
from flowcore.ports.reader import RunQuery
from flowcore.run.record import DeadLetter, RunRecord, RunSummary
from flowcore.run.status import NodeState
from flowcore.stores.inmemory.runs import views as reading
from flowcore.stores.inmemory.runs.run import StoreData

__all__ = ["InMemoryReader"]


class InMemoryReader:
    """Implements ``RunReader``."""

    def __init__(self, world: StoreData, changed: threading.Condition) -> None:
        """Read ``world`` under the lock of ``changed``."""
        self._world = world
        self._changed = changed

    def record(self, run: str) -> RunRecord | None:
        """Return the run with all its nodes."""
        with self._changed:
            kept = self._world.runs.get(run)
            return None if kept is None else reading.record(kept)

    def summary(self, run: str) -> RunSummary | None:
        """Return the run's row."""
        with self._changed:
            kept = self._world.runs.get(run)
            return None if kept is None else reading.summary(kept)

    def list_runs(self, query: RunQuery) -> Listing[RunSummary]:
        """Return matching runs, newest first."""
        with self._changed:
            runs = sorted(self._world.runs.values(), key=reading.recency, reverse=True)
            found = [run for run in runs if reading.matches(run, query)]
            return Listing(reading.summary(run) for run in found[: query.limit])

    def dead_letters(self, *, limit: int = 50) -> Listing[DeadLetter]:
        """Return nodes that were given up, latest first."""
        with self._changed:
            return Listing(reading.dead_letters(self._world)[:limit])

    def children(self, run: str) -> Mapping[str, int]:
        """Return the runs that nodes of a run have started."""
        with self._changed:
            kept = self._world.runs.get(run)
            return dict(kept.children) if kept else {}

    def states(self, run: str, nodes: Sequence[int]) -> Mapping[int, NodeState]:
        """Return where these nodes stand."""
        with self._changed:
            kept = self._world.runs.get(run)
            known = kept.nodes if kept else []
            return {node: known[node] for node in nodes if node < len(known)}

    def input(self, run: str) -> bytes:
        """Return the msgpack of the run's input."""
        with self._changed:
            return self._world.runs[run].new.input

    def outputs(self, run: str, nodes: Sequence[int] | None = None) -> Mapping[int, bytes]:
        """Return msgpack of the outputs that exist."""
        with self._changed:
            kept = self._world.runs.get(run)
            if kept is None:
                return {}
            wanted = kept.outputs if nodes is None else nodes
            return {node: kept.outputs[node] for node in wanted if node in kept.outputs}

    def sizes(self, run: str, nodes: Sequence[int] | None = None) -> Mapping[int, int]:
        """Return the bytes of the outputs that exist."""
        return {node: len(blob) for node, blob in self.outputs(run, nodes).items()}
