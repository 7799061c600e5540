"""Check that nothing waits for a place that what it is inside of holds, and shared limits agree.

In: a draft. Out: problems. Not here: what a limit may be (graph.policy).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from flowcore.check.diagnostic import quote
from flowcore.check.draft import Draft
from flowcore.graph.document import Path

__all__ = ["check_limits"]


#: Limits that nodes share by name, and what they then have to agree about.
_SHARED: Mapping[str, tuple[str, ...]] = {
    "concurrency": ("limit",),
    "rate_limit": ("limit", "per"),
    "circuit_breaker": ("failures", "within", "reset_after", "trials"),
}


def check_limits(draft: Draft) -> None:
    """Note limits that cannot hold.

    A node must not keep one while what it has started waits for a place under it; and limits of one
    name say the same wherever they stand, for there is only one.
    """
    _check_shared(draft)
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


def _check_shared(draft: Draft) -> None:
    first: dict[tuple[str, str], tuple[tuple[Any, ...], str]] = {}
    for id, raw in draft.nodes.items():
        for key, facts in _SHARED.items():
            limit = getattr(raw.model, key, None)
            if limit is None or limit.name is None:
                continue
            said = tuple(getattr(limit, fact) for fact in facts)
            known, other = first.setdefault((key, limit.name), (said, id))
            if said != known:
                what = f"{key} {quote(limit.name)} is another one at node {quote(other)}"
                hint = "say the same at both, or give them two names"
                draft.problems.add("FC216", what, (*raw.path, key), hint, at_key=True)
