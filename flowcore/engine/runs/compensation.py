"""Compensation of a failed or cancelled run: nodes, and parts of nodes that came half-way.

In: a run, its plan. Out: what succeeded and can be undone, in the order of the flow. Not here: the
plan that undoes it (plan.children).

A node with ``undo`` that has succeeded is undone as a whole. A map, a loop or branches that have
not are undone by their parts: each item, iteration or branch that has succeeded. A sub-flow has an
end of its own.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flowcore.engine.values.output_batches import portions
from flowcore.engine.values.payloads import Payloads
from flowcore.plan.plan import Plan
from flowcore.plan.policy import StructuredSpec
from flowcore.ports.store import RunReader
from flowcore.run.status import NodeState

__all__ = ["Undone", "outputs_of", "undone"]

_IN_PARTS = frozenset({"map", "loop", "parallel"})

#: The end of the id of a run of some items or iterations: its life, and the first of them.
_PLACE = re.compile(r"(?:@r(\d+))?(?:@(\d+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """Something that is undone by one call."""

    name: str
    """The node that says how."""
    label: str
    """The node, or the node and the numbers and names of the part: ``book 2``."""
    run: str
    node: int
    """Whose output is undone."""


def undone(reader: RunReader, run: str, plan: Plan) -> list[Undone]:
    """Find what a run undoes, in the order of its flow.

    Args:
        reader: Reads it.
        run: The run, of which all other nodes have settled.
        plan: Its plan.
    """
    body = plan.policy(plan.epilogue).body if plan.epilogue is not None else None
    if body is None or not body.ids:
        return []
    numbers = {name: plan.ids.index(name) for name in body.ids}
    states = reader.states(run, list(numbers.values()))
    found: list[Undone] = []
    for name, node in numbers.items():
        inside = plan.policy(node).body
        if states.get(node) is NodeState.SUCCEEDED:
            found.append(Undone(name=name, label=name, run=run, node=node))
        elif inside is not None and inside.kind in _IN_PARTS:
            found += _parts(reader, inside, Undone(name=name, label=name, run=run, node=node))
    return found


def _parts(reader: RunReader, body: StructuredSpec, of: Undone) -> Iterator[Undone]:
    """The parts of a node that have succeeded."""
    for child, life, first in _runs(reader, of):
        summary = reader.summary(child)
        total = summary.total if summary is not None else 0
        states = reader.states(child, range(total))
        for at in range(total):
            which = body.ids[at] if body.kind == "parallel" else str(first + at)
            label = f"{of.label} {which}" + (f" r{life}" if life else "")
            part = Undone(name=of.name, label=label, run=child, node=at)
            inside = body.inner[at if body.kind == "parallel" else 0].body
            if states.get(at) is NodeState.SUCCEEDED:
                yield part
            elif inside is not None and inside.kind in _IN_PARTS:
                yield from _parts(reader, inside, part)


def _runs(reader: RunReader, of: Undone) -> list[tuple[str, int, int]]:
    """The runs that a node has started for its parts, in their order, with life and first part."""
    found = []
    for child, node in reader.children(of.run).items():
        place = _PLACE.fullmatch("".join(child.rpartition("/")[2].partition("@")[1:]))
        if node == of.node and place is not None:
            found.append((child, int(place[1] or 0), int(place[2] or 0)))
    return sorted(found, key=lambda one: one[1:])


def outputs_of(reader: RunReader, payloads: Payloads, parts: Sequence[Undone]) -> list[Any]:
    """Read what is undone."""
    by_run: dict[str, list[int]] = {}
    for part in parts:
        by_run.setdefault(part.run, []).append(part.node)
    values = {
        (run, node): payloads.unpack(blob, what=f"output of what is undone in run {run!r}")
        for run, nodes in by_run.items()
        for portion in portions(reader, run, nodes)
        for node, blob in portion.items()
    }
    return [values.get((part.run, part.node)) for part in parts]
