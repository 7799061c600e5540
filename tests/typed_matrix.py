"""Parameters with types x forms of functions x ways of running: the flows, and what they come to.

In: a way of running. Out: a definition with good and bad cells; the cells that are wrong. Not here:
workers (tests.engine).
"""

from collections.abc import Callable
from typing import Any

from tests.policy_matrix import WAYS, Seen

FORMS = ("plain", "later", "context", "by_place", "generator", "stream", "called")

_GOOD = {"order": {"id": "5", "lines": [{"sku": "a"}]}, "day": "2026-03-01"}
_TOLD = {"id": 6, "year": 2026, "colour": "RED"}
_RETRY = {"retry": {"max_attempts": 3, "delay": 0}}

#: What a node says, and what becomes of it: state, error, output, attempts.
_CELLS: dict[str, tuple[dict[str, Any], tuple[str, str | None, Any, int]]] = {
    "good": ({"with": _GOOD}, ("succeeded", None, _TOLD, 1)),
    "alone": ({"with": _GOOD, "timeout": "60s"}, ("succeeded", None, _TOLD, 1)),
    "bad": (
        {"with": {**_GOOD, "colour": "green"}, **_RETRY},
        ("failed", "ArgumentError", None, 1),
    ),
    "deep": (
        {"with": {**_GOOD, "order": "${{ {'id': 1, 'lines': [{'sku': 1}]} }}"}, **_RETRY},
        ("failed", "ArgumentError", None, 1),
    ),
    "instead": (
        {"with": {**_GOOD, "day": "soon"}, **_RETRY, "fallback": {"value": 7}},
        ("succeeded", None, 7, 1),
    ),
}


def definition(way: str) -> dict[str, Any]:
    """All cells of a way of running."""
    execution = {"config": {"execution": {"fail_fast": False}}}
    nodes: dict[str, Any] = {}
    for form in FORMS:
        for cell, (keys, _) in _CELLS.items():
            nodes[f"{cell}-{form}"] = _node(way, {"uses": f"typed_nodes:{form}", **keys}, execution)
    return {"id": "typed", "nodes": nodes, **execution}


def _node(way: str, node: dict[str, Any], execution: dict[str, Any]) -> dict[str, Any]:
    around = WAYS[way]
    if around.get("uses") == "workflow":
        return {"uses": "workflow", "flow": {"id": "inside", "nodes": {"in": node}, **execution}}
    if around.get("uses") == "parallel":
        return {"uses": "parallel", "branches": {"in": node}}
    return {**node, **around}


def _value(output: Any) -> Any:
    if isinstance(output, dict) and "in" in output:
        output = output["in"]
    while isinstance(output, list) and output:
        output = output[-1]
    return output


def wrong(see: Callable[[str], Seen], way: str) -> list[str]:
    """The cells that did not come to what they have to."""
    found = []
    for form in FORMS:
        for cell, (_, told) in _CELLS.items():
            seen = see(f"{cell}-{form}")
            if (seen.state, seen.error, _value(seen.output), seen.attempts) != told:
                found.append(f"{cell} x {form} x {way}: {seen}")
    return found
