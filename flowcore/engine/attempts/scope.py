"""Scope of a structured node's child run: an item, the state of a loop, outer values.

In: the plan of such a run, its input. Out: values by name. Not here: outputs (upstream), making
that input (child_runs.structured).

The input of such a run is ``inputs``, those of the run around it; ``outer``, what its expressions
read of that one; ``nodes``, nodes of it whose names mean something else inside; and ``items`` of a
map, ``state`` of a loop, ``upstream`` of branches; at the end of a run ``undone``, what the nodes
to undo gave, and ``run``, what became of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flowcore.plan.plan import Plan

__all__ = ["ChildScope"]


@dataclass(frozen=True, slots=True)
class ChildScope:
    """The outside of one run, seen from its nodes."""

    plan: Plan
    given: Mapping[str, Any]
    """The run's input."""

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The inputs of the run around it."""
        found: Mapping[str, Any] = self.given["inputs"]
        return found

    def flows_into(self, node: int) -> Any:
        """Return the input of a node without predecessors: its item, the state, outer values."""
        if self.plan.scope == "map":
            return self.given["items"][node]
        if self.plan.scope == "epilogue":
            return self.given["undone"][node] if node < self.plan.first else self.given["run"]
        return self.given["state" if self.plan.scope == "loop" else "upstream"]

    def own(self, node: int, output_of: Callable[[int], Any]) -> dict[str, Any]:
        """The names that such a run adds to those outside.

        Args:
            node: The node.
            output_of: Gives the output of a node.
        """
        if self.plan.scope == "map":
            return {"item": self.flows_into(node), "index": self.plan.first + node}
        if self.plan.scope == "loop":
            state = output_of(node - 1) if node else self.flows_into(0)
            return {"state": state, "iteration": self.plan.first + node}
        if self.plan.scope == "epilogue":
            own = {"run": self.given["run"]}
            return {**own, "output": self.given["undone"][node]} if node < self.plan.first else own
        return {}

    def stands_alone(self, node: int) -> bool:
        """Return whether a node's input is independent of its predecessors."""
        return self.plan.scope == "epilogue" and (
            node < self.plan.first or self.plan.policy(node).join == "all_done"
        )

    def lookup(self, name: str, whole: Any, own: Mapping[str, Any]) -> tuple[bool, Any]:
        """Find a parameter's value.

        Args:
            name: The parameter's.
            whole: What flows into the node; the value it has under that name comes first.
            own: What ``own`` gave.
        """
        for values in (whole, own):
            if isinstance(values, Mapping) and name in values:
                return True, values[name]
        return False, None

    def context(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return the context of expressions."""
        outer = self.given["outer"]
        # A node that is called as a name of the scope is read as nodes["index"].
        nodes = {**outer, **self.given.get("nodes", {})}
        return {**outer, **own, "nodes": nodes, "inputs": self.inputs}
