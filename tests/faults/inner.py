"""Flows of the campaign whose nodes start runs of their own, and what each comes to.

In: a seeded dice. Out: cases: maps, loops, sub-flows, branches, sources, ends, in each other. What
a node gives depends on all that it was given, so an iteration or an item that is left out, doubled
or in another place shows in the output. Not here: who meddles with them (meddling), how they are
judged (kinship).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flowcore.client.flow import Flow
from tests.faults.cases import Case
from tests.faults.meddling import Plot
from tests.faults.nodes import folded
from tests.reference import Expected

__all__ = ["PLOTS", "inner_case"]

PLOTS: tuple[Plot, ...] = ("none", "none", "cancel", "halt", "pause", "mend")

_AT = "tests.faults.nodes:"
_RETRY = {"max_attempts": 3, "delay": 0.1, "backoff": "fixed", "retry_on": ["ConnectionError"]}
_DEEPEST = 2
_SIGNAL = {"n": 1}


@dataclass(frozen=True, kw_only=True)
class _Block:
    """A node, and what it gives, given what it reads."""

    node: dict[str, Any]
    gives: Callable[[Any], Any]


@dataclass(kw_only=True)
class _Writer:
    """Writes random flows."""

    dice: random.Random
    attempts: dict[str, int] = field(default_factory=dict)

    def chain(self, expression: str, depth: int, *, undo: bool) -> tuple[dict[str, Any], _Block]:
        """Some blocks one after the other, each of which reads the one before."""
        nodes: dict[str, Any] = {}
        gives: list[Callable[[Any], Any]] = []
        before: str | None = None
        for at in range(self.dice.randint(1, 2 if depth else 3)):
            name = f"n{at}"
            block = self.block(expression, depth, chained=before is not None)
            node = {**block.node, "needs": [before] if before else []}
            if undo:
                node["undo"] = {"uses": f"{_AT}undo", "with": {"what": name}}
            nodes[name], before, expression = node, name, f"{name}.output"
            gives.append(block.gives)

        def all_of_them(value: Any) -> Any:
            for one in gives:
                value = one(value)
            return value

        return nodes, _Block(node={}, gives=all_of_them)

    def block(self, expression: str, depth: int, *, chained: bool = False) -> _Block:
        """One node that reads an expression."""
        simple = ["leaf", "map", "loop", "source", "tolerant", "anew"]
        waits = ["signal", "approval", *(["wait"] if chained else [])]
        deep = ["sub", "sub", "parallel", "deep_map", "deep_loop", "deep_source"]
        kinds = [*simple, *waits, *(deep * 2 if depth < _DEEPEST else [])]
        made: _Block = getattr(self, f"_{self.dice.choice(kinds)}")(expression, depth)
        return made

    # ── without runs in them ────────────────────────────────────────────────────────────────────

    def _fold(self, given: str, **more: Any) -> tuple[dict[str, Any], int]:
        salt = self.dice.randint(0, 999)
        seconds = round(self.dice.uniform(0.0, 0.2), 3)
        node: dict[str, Any] = {
            "uses": f"{_AT}fold",
            "with": {"given": f"${{{{ {given} }}}}", "salt": salt, "seconds": seconds, **more},
        }
        if self.dice.random() < 0.15:
            node["with"]["flaky"] = True
            node["retry"] = _RETRY
        if self.dice.random() < 0.2:
            node["with"]["tells"] = self.dice.randint(1, 3)
        if self.dice.random() < 0.2:
            node["concurrency"] = {"limit": 2, "name": "faults-inner"}
        return node, salt

    def _leaf(self, expression: str, _: int) -> _Block:
        node, salt = self._fold(expression)
        return _Block(node=node, gives=lambda value: folded(value, salt))

    def _wait(self, _: str, __: int) -> _Block:
        node = {"uses": "wait", "with": {"for": f"{self.dice.randint(50, 1500)}ms"}}
        return _Block(node=node, gives=lambda value: value)

    def _signal(self, _: str, __: int) -> _Block:
        return _Block(
            node={"uses": "signal", "with": {"name": "go"}}, gives=lambda _: dict(_SIGNAL)
        )

    def _approval(self, _: str, __: int) -> _Block:
        return _Block(node={"uses": "approval"}, gives=lambda _: {"approved": True})

    def _anew(self, expression: str, _: int) -> _Block:
        """A sub-flow that undoes what it did, and that a retry begins anew."""
        first, salt = self._fold("inputs.x")
        first["undo"] = {"uses": f"{_AT}undo", "with": {"what": "first"}}
        last = {"uses": f"{_AT}once", "needs": ["first"], "with": {"salt": salt}}
        node = {
            "uses": "workflow",
            "flow": {"inputs": {"x": {}}, "nodes": {"first": first, "last": last}},
            "with": {"x": f"${{{{ {expression} }}}}"},
            "retry": {"max_attempts": 3, "delay": 0.1, "backoff": "fixed"},
        }
        return _Block(node=node, gives=lambda _: salt)

    # ── maps ────────────────────────────────────────────────────────────────────────────────────

    def _items(self) -> tuple[dict[str, Any], int]:
        count = self.dice.randint(1, 7)
        node: dict[str, Any] = {"for_each": list(range(count))}
        if self.dice.random() < 0.5:
            node["max_parallel"] = self.dice.randint(1, 3)
        return node, count

    def _map(self, expression: str, _: int) -> _Block:
        node, salt = self._fold(f"[{expression}, item]")
        items, count = self._items()
        return _Block(
            node={**node, **items},
            gives=lambda value: [folded([value, item], salt) for item in range(count)],
        )

    def _tolerant(self, expression: str, _: int) -> _Block:
        node, salt = self._fold(f"[{expression}, item]", bad="${{ item == 1 || item == 3 }}")
        items, count = self._items()
        return _Block(
            node={**node, **items, "tolerated_failures": 2},
            gives=lambda value: [
                None if item in {1, 3} else folded([value, item], salt) for item in range(count)
            ],
        )

    def _source(self, expression: str, _: int) -> _Block:
        node, salt = self._fold(f"[{expression}, item]")
        items, count = self._from_source()
        node.pop("concurrency", None)  # max_parallel is one, and there is one at most
        return _Block(
            node={**node, **items},
            gives=lambda value: [folded([value, item], salt) for item in range(count)],
        )

    def _from_source(self) -> tuple[dict[str, Any], int]:
        node, count = self._items()
        pause = round(self.dice.uniform(0.0, 0.2), 3)
        given = {"count": count, "seconds": pause}
        node["for_each"] = {"uses": f"{_AT}items", "with": given}
        return node, count

    def _deep_map(self, expression: str, depth: int) -> _Block:
        sub = self._sub(f"[{expression}, item]", depth + 1)
        items, count = self._items()
        return _Block(
            node={**sub.node, **items},
            gives=lambda value: [sub.gives([value, item]) for item in range(count)],
        )

    def _deep_source(self, expression: str, depth: int) -> _Block:
        sub = self._sub(f"[{expression}, item]", depth + 1)
        items, count = self._from_source()
        sub.node.pop("concurrency", None)
        return _Block(
            node={**sub.node, **items},
            gives=lambda value: [sub.gives([value, item]) for item in range(count)],
        )

    # ── loops, sub-flows, branches ──────────────────────────────────────────────────────────────

    def _times(self, expression: str) -> tuple[dict[str, Any], int]:
        count = self.dice.choice([1, 2, 3, 5])
        node: dict[str, Any] = {"initial": f"${{{{ {expression} }}}}"}
        if self.dice.random() < 0.5:
            return {**node, "max_iterations": count}, count
        return {**node, "until": f"iteration >= {count - 1}"}, count

    def _loop(self, expression: str, _: int) -> _Block:
        node, salt = self._fold("[state, iteration]")
        times, count = self._times(expression)
        if self.dice.random() < 0.15:  # more than fit into its first part
            node["with"]["seconds"], count = 0.0, 60
            times = {"initial": times["initial"], "until": "iteration >= 59"}

        def gives(value: Any) -> Any:
            for iteration in range(count):
                value = folded([value, iteration], salt)
            return value

        return _Block(node={**node, **times}, gives=gives)

    def _deep_loop(self, expression: str, depth: int) -> _Block:
        sub = self._sub("[state, iteration]", depth + 1)
        times, count = self._times(expression)

        def gives(value: Any) -> Any:
            for iteration in range(count):
                value = sub.gives([value, iteration])
            return value

        return _Block(node={**sub.node, **times}, gives=gives)

    def _sub(self, expression: str, depth: int) -> _Block:
        nodes, whole = self.chain("inputs.x", depth + 1, undo=self.dice.random() < 0.4)
        flow: dict[str, Any] = {"inputs": {"x": {}}, "nodes": nodes}
        if self.dice.random() < 0.4:
            flow["finally"] = closing()
        node: dict[str, Any] = {
            "uses": "workflow",
            "flow": flow,
            "with": {"x": f"${{{{ {expression} }}}}"},
        }
        if self.dice.random() < 0.15:
            node["concurrency"] = {"limit": 2, "name": f"faults-inner-{depth}"}
        return _Block(node=node, gives=whole.gives)

    def _branch(self, expression: str, depth: int) -> _Block:
        """A leaf or a sub-flow: a branch cannot name an item or a state of its own (FC203)."""
        return (self._sub if self.dice.random() < 0.5 else self._leaf)(expression, depth + 1)

    def _parallel(self, expression: str, depth: int) -> _Block:
        made = {f"b{at}": self._branch(expression, depth) for at in range(self.dice.randint(2, 3))}
        return _Block(
            node={
                "uses": "parallel",
                "branches": {name: one.node for name, one in made.items()},
            },
            gives=lambda value: {name: one.gives(value) for name, one in made.items()},
        )


def closing() -> dict[str, Any]:
    """Nodes for ``finally``."""
    return {"close": {"uses": f"{_AT}undo", "with": {"what": "${{ run.state }}"}}}


def inner_case(dice: random.Random, index: int) -> Case:
    """A random flow of flows; and what is done to its run."""
    plot = dice.choice(PLOTS)
    saga = plot != "mend" and dice.random() < 0.5
    fails = plot in {"none", "pause"} and saga and dice.random() < 0.6
    nodes, whole = _Writer(dice=dice).chain("inputs.x", 0, undo=saga)
    tree: dict[str, Any] = {"id": f"inner{index}", "inputs": {"x": {}}, "nodes": nodes}
    if saga or dice.random() < 0.3:
        tree["finally"] = closing()
    if saga:
        tree["on_failure"] = {"tell": {"uses": f"{_AT}undo", "with": {"what": "told"}}}
    last = list(nodes)[-1]
    expected = Expected(state="failed" if fails else "succeeded")
    if plot == "mend":
        # Items and iterations that fail until somebody mends it, beside and inside of others.
        gate = {"uses": f"{_AT}gated", "with": {"item": "${{ item }}"}, "for_each": [0, 1, 2]}
        loop = {
            "uses": f"{_AT}gated",
            "with": {"item": "${{ iteration }}"},
            "max_iterations": 3,
            "initial": 0,
        }
        inner = {"uses": "workflow", "flow": {"nodes": {"m": gate, "l": {**loop, "needs": ["m"]}}}}
        nodes["gate"] = {**dice.choice([gate, loop, inner]), "needs": [last]}
        nodes["gate"].pop("with", None) if nodes["gate"]["uses"] == "workflow" else None
    if fails:
        nodes["bad"] = {
            "uses": f"{_AT}fold",
            "needs": [last],
            "with": {"given": 1, "salt": 1, "seconds": 0.0, "bad": True},
        }
    return Case(
        plan=Flow.load(tree).plan(),
        input={"x": index},
        expected=expected,
        plot=plot,
        outputs={last: whole.gives(index)},
        kin=True,
    )
