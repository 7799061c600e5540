"""Structured nodes of a flow under construction: maps, loops, sub-flows, ways to choose.

In: functions, conditions, other flows. Out: nodes and edges of the flow. Not here: single nodes
(builder), what they say (serialize).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowcore.graph.node_spec import Items
from flowcore.graph.operators import Group, Linkable, Operand, Step
from flowcore.graph.serialize import head_of, unused

__all__ = ["Shapes"]


class Shapes:
    """Structured nodes of a flow under construction."""

    _nodes: dict[str, dict[str, Any]]

    def add(self, id: str, uses: str | Callable[..., Any], **keys: Any) -> Step:
        """Add a node."""
        raise NotImplementedError

    def edge(self, source: str | Linkable, target: str | Linkable) -> None:
        """Let ``target`` run after ``source``."""
        raise NotImplementedError

    def definition(self) -> dict[str, Any]:
        """The flow as a tree."""
        raise NotImplementedError

    def map(self, id: str, uses: str | Callable[..., Any], items: Items, **more: Any) -> Step:
        """Add a node that runs for each item; ``more`` and ``items`` are as for ``add``."""
        return self.add(id, uses, for_each=items, **more)

    def loop(
        self,
        id: str,
        uses: str | Callable[..., Any],
        until: str | None = None,
        *,
        max_iterations: int | None = None,
        initial: Any = None,
        **more: Any,
    ) -> Step:
        """Add a node that runs again and again; ``more`` is as for ``add``."""
        return self.add(
            id, uses, until=until, max_iterations=max_iterations, initial=initial, **more
        )

    def sub_flow(self, id: str, flow: "Shapes | Mapping[str, Any] | str", **more: Any) -> Step:
        """Add a node that runs another flow as a run of its own; ``more`` is as for ``add``.

        Args:
            id: The node's id.
            flow: A flow, a definition, or the name that one was deployed under.
            **more: The flow's input by name, and policies.
        """
        step = self.add(id, "workflow", **more)
        self._nodes[id]["flow"] = flow.definition() if isinstance(flow, Shapes) else flow
        return step

    def when(self, condition: str, then: Operand, otherwise: Operand | None = None) -> Group:
        """Choose between two ways; what comes after this runs after the one that was taken.

        ::

            total >> flow.when("total.output > 100", review, otherwise=ship) >> notify

        Args:
            condition: CEL expression over what is upstream.
            then: What runs if it holds: a node, or a chain that begins with one.
            otherwise: What runs if it does not.
        """
        return self.switch([(condition, then)], default=otherwise)

    def switch(
        self,
        cases: Sequence[tuple[str, Operand]],
        *,
        default: Operand | None = None,
        match: str = "first",
        id: str | None = None,
    ) -> Group:
        """Choose between several ways, the first whose condition holds, or all that do.

        Args:
            cases: Pairs of a CEL expression and what runs if it holds.
            default: What runs if none does.
            match: ``first`` or ``all``.
            id: The id of the node that chooses.
        """
        name = id or unused("choose", self._nodes)
        chooser = self.add(name, "condition")
        given: dict[str, Any] = {"cases": {}}
        ends: list[Step] = []
        for condition, way in cases:
            head, span = head_of(way)
            given["cases"][head.id] = condition
            self.edge(chooser, head)
            ends += span.last
        if default is not None:
            head, span = head_of(default)
            given["default"] = head.id
            self.edge(chooser, head)
            ends += span.last
        if match != "first":
            given["match"] = match
        self._nodes[name]["with"] = given
        return Group(first=(chooser,), last=tuple(ends))
