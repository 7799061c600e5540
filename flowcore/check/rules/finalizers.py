"""Check what runs at the end: ``undo`` of nodes, ``on_failure`` and ``finally``.

In: a draft and its graph. Out: problems, and these nodes as flows of their own, checked. Not here:
what their expressions may read: any node, for by then all have settled (expressions).
"""

from collections.abc import Mapping
from typing import Any

from flowcore.check.diagnostic import describe, quote
from flowcore.check.draft import Draft
from flowcore.check.rules.structure import Nested, check_inside
from flowcore.graph.document import Path
from flowcore.nodes.types.structured import EPILOGUE

__all__ = ["UNDO", "check_closing"]

#: The key under which the nodes that undo others are returned.
UNDO = "undo"

#: Keys that mean something only among other nodes.
_NOT_ALONE = frozenset({"needs", "join", "if", "undo"})
_PARTS = ("on_failure", "finally")


def check_closing(draft: Draft, nested: Nested[Any]) -> dict[str, Any]:
    """Note what is wrong with it; return each part as a checked flow."""
    found = {UNDO: _undo(draft, nested)}
    for part in _PARTS:
        given = draft.head.get(part)
        if given:
            places: dict[str, Path] = {key: (part, key) for key in given}
            found[part] = check_inside(draft, given, places, nested)
        elif given is not None:
            draft.problems.add("FC205", f"expected nodes, got {describe(given)}", (part,))
    _check_ids(draft)
    there = {part: checked for part, checked in found.items() if checked is not None}
    if there and EPILOGUE in draft.nodes:
        what = f"node id {quote(EPILOGUE)} is that of what runs at the end"
        draft.problems.add("FC214", what, draft.nodes[EPILOGUE].path, "rename it", at_key=True)
    return there


def _check_ids(draft: Draft) -> None:
    """Check that names which are read are unique."""
    taken = set(draft.nodes)
    for part in _PARTS:
        given = draft.head.get(part) or {}
        for key in given:
            if key in taken:
                what = f"{quote(key)} is the id of another node already"
                draft.problems.add("FC206", what, (part, key), "rename it", at_key=True)
        taken.update(given)


def _undo(draft: Draft, nested: Nested[Any]) -> Any:
    """Return the nodes that undo others, as a flow whose nodes have their names."""
    tree: dict[str, Any] = {}
    places: dict[str, Path] = {}
    for key, raw in draft.nodes.items():
        given = raw.fields.get("undo")
        if not isinstance(given, Mapping):
            continue  # there is none, or its shape is told already
        places[key] = (*raw.path, "undo")
        for extra in sorted(given.keys() & _NOT_ALONE):
            what = f"{quote(extra)} means nothing in what undoes a node"
            draft.problems.add("FC223", what, (*places[key], extra), at_key=True)
        tree[key] = {name: value for name, value in given.items() if name not in _NOT_ALONE}
    return check_inside(draft, tree, places, nested) if tree else None
