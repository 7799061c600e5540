"""Reader of a canvas's state, with the interface of a run store.

In: the state of a canvas. Out: a RunReader of that one run, for Upstream. Not here: the canvas.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flowcore.plan.plan import Plan
from flowcore.ports.listing import Listing
from flowcore.ports.store import RunQuery
from flowcore.run.record import DeadLetter, RunRecord, RunSummary
from flowcore.run.status import NodeState
from flowcore.run.wire import pack

__all__ = ["CanvasReader"]


class CanvasReader:
    """A RunReader over plain data; it knows outputs and states, and keeps no records."""

    def __init__(self, plan: Plan, *, input: Any, settled: Mapping[str, Mapping[str, Any]]) -> None:
        """Read from ``settled``: ``{id: {"state": ..., "output": ...}}``."""
        self._plan = plan
        self._input = input
        self._settled = settled

    def input(self, run: str) -> bytes:  # noqa: ARG002  (there is one run)
        """The run's input."""
        return pack(self._input)

    def outputs(self, run: str, nodes: Sequence[int] | None = None) -> Mapping[int, bytes]:  # noqa: ARG002
        """The outputs that exist."""
        found = {}
        for node in range(len(self._plan)) if nodes is None else nodes:
            how = self._settled.get(self._plan.ids[node], {})
            if "output" in how:
                found[node] = pack(how["output"])
        return found

    def sizes(self, run: str, nodes: Sequence[int] | None = None) -> Mapping[int, int]:
        """The bytes of the outputs that exist."""
        return {node: len(blob) for node, blob in self.outputs(run, nodes).items()}

    def states(self, run: str, nodes: Sequence[int]) -> Mapping[int, NodeState]:  # noqa: ARG002
        """Return the states of these nodes."""
        return {
            node: NodeState(self._settled.get(self._plan.ids[node], {}).get("state", "pending"))
            for node in nodes
        }

    def record(self, run: str) -> RunRecord | None:  # noqa: ARG002
        """A canvas is not recorded."""
        return None

    def summary(self, run: str) -> RunSummary | None:  # noqa: ARG002
        """A canvas is not recorded."""
        return None

    def list_runs(self, query: RunQuery) -> Listing[RunSummary]:  # noqa: ARG002
        """A canvas is not recorded."""
        return Listing()

    def children(self, run: str) -> Mapping[str, int]:  # noqa: ARG002
        """A canvas is not recorded."""
        return {}

    def dead_letters(self, *, limit: int = 50) -> Listing[DeadLetter]:  # noqa: ARG002
        """A canvas is not recorded."""
        return Listing()
