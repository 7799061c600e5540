"""The node of the fault campaign: slow enough to be hit, wrong if anything upstream is."""

import time
from typing import Any

__all__ = ["expected", "work"]


def work(upstream: Any, salt: int, seconds: float) -> dict[str, int]:
    """Depend on everything upstream."""
    time.sleep(seconds)
    if isinstance(upstream, dict) and "value" in upstream:
        upstream = {"": upstream}
    return {"value": combine([part["value"] for part in (upstream or {}).values()], salt)}


def combine(values: list[int], salt: int) -> int:
    """Mix the predecessors' values, whatever their order."""
    return (sum(31 * value + 7 for value in values) + salt) % 99_991


def expected(nodes: dict[str, Any]) -> dict[str, dict[str, int]]:
    """What a run without any fault gives; nodes are in topological order."""
    values: dict[str, int] = {}
    for name, node in nodes.items():
        before = [values[source] for source in node["needs"]]
        values[name] = combine(before, node["with"]["salt"])
    return {name: {"value": value} for name, value in values.items()}
