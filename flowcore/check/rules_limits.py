"""Check that nothing waits for a place that what it is inside of holds.

In: a draft. Out: problems. Not here: what a limit may be (graph.policy).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from flowcore.check.diagnostic import quote
from flowcore.check.draft import Draft
from flowcore.graph.source import Path

__all__ = ["check_limits"]


def check_limits(draft: Draft) -> None:
    """Note limits that a node keeps while what it has started waits for a place under them."""
    for raw in draft.nodes.values():
        held = _name(raw.fields)
        if held is None:
            continue
        for path, name in _inside(raw.fields, raw.path):
            if name == held:
                what = f"the node around it holds a place of {quote(name)} and waits for this one"
                hint = "give the limits two names"
                draft.problems.add("FC223", what, (*path, "concurrency"), hint, at_key=True)


def _name(fields: Mapping[str, Any]) -> str | None:
    """The limit that every attempt of a node has to pass."""
    limit = fields.get("concurrency")
    if not isinstance(limit, Mapping) or limit.get("key") is not None:
        return None
    name = limit.get("name")
    return name if isinstance(name, str) else None


def _inside(fields: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, str | None]]:
    """The limits of all nodes that are written inside one."""
    flow, branches = fields.get("flow"), fields.get("branches")
    parts = [((*path, "branches"), branches)]
    if isinstance(flow, Mapping):
        parts.append(((*path, "flow", "nodes"), flow.get("nodes")))
    for place, nodes in parts:
        for key, inner in nodes.items() if isinstance(nodes, Mapping) else ():
            if isinstance(inner, Mapping):
                yield (*place, key), _name(inner)
                yield from _inside(inner, (*place, key))
