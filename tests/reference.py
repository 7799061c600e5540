"""A reference interpreter: what a run must come to, written as simply as can be.

One node after the other, in topological order, in this process, with plain dictionaries. It
shares no code with the engine but the node functions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Expected", "interpret"]


@dataclass(kw_only=True)
class Expected:
    """States and outputs by node, and the run's state."""

    states: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    state: str = "succeeded"


def interpret(
    nodes: Mapping[str, Mapping[str, Any]],
    function: Callable[..., Any],
    live: Callable[[str, str, Any], bool],
) -> Expected:
    """Run a flow without fail-fast.

    Args:
        nodes: By id, in a topological order: ``needs``, ``join``, ``with``.
        function: Called with ``upstream`` and the node's ``with``.
        live: Whether the edge (source, target) holds, given the source's output.
    """
    expected = Expected()
    after = {name: [other for other in nodes if name in nodes[other]["needs"]] for name in nodes}
    for name, node in nodes.items():
        edges = [
            source
            for source in node["needs"]
            if expected.states[source] == "failed"
            or (
                expected.states[source] == "succeeded"
                and live(source, name, expected.outputs[source])
            )
        ]
        good = [source for source in edges if expected.states[source] == "succeeded"]
        bad = [source for source in edges if expected.states[source] == "failed"]
        if node["needs"] and not _holds(node["join"], good, bad):
            expected.states[name] = "skipped"
            if node["join"] == "any_success" and bad:
                expected.state = "failed"
            continue
        given = [source for source in node["needs"] if source in expected.outputs]
        upstream: Any = {source: expected.outputs[source] for source in given}
        if len(node["needs"]) == 1:
            upstream = expected.outputs.get(node["needs"][0])
        try:
            expected.outputs[name] = function(upstream, **node["with"])
            expected.states[name] = "succeeded"
        except ValueError:
            expected.states[name] = "failed"
            rules = {nodes[target]["join"] for target in after[name]}
            if not rules or not rules <= {"all_done", "any_success"}:
                expected.state = "failed"
    return expected


def _holds(rule: str, good: list[str], bad: list[str]) -> bool:
    return {
        "all_success": bool(good) and not bad,
        "any_success": bool(good),
        "none_failed": not bad,
        "all_done": True,
    }[rule]
