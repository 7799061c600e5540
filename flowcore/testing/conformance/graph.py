"""Cases about the graph: order, joins, conditions, dead paths, what a node sees."""

from collections.abc import Awaitable, Callable
from typing import Any

from flowcore.errors import DefinitionError
from flowcore.ports.capability import Capability
from flowcore.testing.conformance.case import Case, Mismatch, Subject, expect, uses

__all__ = ["SHAPES"]


async def _linear(it: Subject) -> None:
    nodes = {"a": uses("add"), "b": uses("add", "a", by=10), "c": uses("add", "b", by=100)}
    result = await it.run(nodes)
    expect(result.success, True, "success")
    expect(result.output, 111, "output")
    expect(dict(result.outputs), {"a": 1, "b": 11, "c": 111}, "outputs")


async def _async_function(it: Subject) -> None:
    result = await it.run({"a": uses("add_later"), "b": uses("add_later", "a")})
    expect(result.output, 2, "output")


async def _input(it: Subject) -> None:
    declared = {"n": {"type": "integer", "default": 7}, "s": {"type": "string"}}
    result = await it.run({"a": uses("inputs")}, {"s": "x"}, inputs=declared)
    expect(result.output, {"s": "x", "n": 7}, "what a node sees of the input")


async def _diamond(it: Subject) -> None:
    nodes = {
        "a": uses("add"),
        "b": uses("add", "a", by=10),
        "c": uses("add_later", "a", by=100),
        "d": uses("seen", "b", "c"),
    }
    result = await it.run(nodes)
    expect(result.output, {"b": 11, "c": 101}, "what the join sees")


async def _uneven(it: Subject) -> None:
    nodes = {
        "a": uses("add"),
        "b": uses("add", "a"),
        "c": uses("add", "b"),
        "d": uses("add", "c"),
        "join": uses("add", "a", "d", by=0),
    }
    result = await it.run(nodes)
    expect(result.output, 5, "output of a join of branches of unlike length")
    expect(result.nodes["join"].attempts, 1, "times the join ran")


async def _chained_joins(it: Subject) -> None:
    nodes = {
        "a": uses("add"),
        "b": uses("add"),
        "one": uses("add", "a", "b", by=0),
        "two": uses("add", "one", "a", by=0),
        "three": uses("add", "two", "one", "b", by=0),
    }
    result = await it.run(nodes)
    expect(dict(result.outputs), {"a": 1, "b": 1, "one": 2, "two": 3, "three": 6}, "outputs")


async def _independent_of_speed(it: Subject) -> None:
    """The fold of a join has the author's order, whichever branch is the faster one."""
    found = []
    for slow in ("a", "z"):
        nodes: dict[str, Any] = {
            name: uses("nap", seconds=0.1 if name == slow else 0.0) for name in ("z", "a")
        }
        nodes["join"] = uses("seen", "z", "a")
        found.append(list((await it.run(nodes)).output))
    expect(found, [["z", "a"], ["z", "a"]], "order of what a join sees")


async def _no_strangers(it: Subject) -> None:
    """A node reads its ancestors, and nobody beside it."""
    nodes = {"a": uses("add"), "b": uses("add"), "c": uses("seen", "a", upstream="${{ b.output }}")}
    try:
        await it.run(nodes)
    except DefinitionError:
        return
    raise Mismatch("a node may read what is not upstream of it")


def _condition(number: int, states: dict[str, str]) -> Callable[[Subject], Awaitable[None]]:
    async def check(it: Subject) -> None:
        nodes = {
            "n": uses("add", by=number),
            "odd": uses("odd", "n"),
            "then": uses("add", "odd", by=1),
            "other": uses("add", by=2),
            "end": uses("seen", "then", "other", join="none_failed"),
        }
        del nodes["then"]["needs"]
        edges = [
            {"from": "odd", "to": "then", "when": "odd.output.odd"},
            {"from": "odd", "to": "other", "when": "!odd.output.odd"},
        ]
        result = await it.run(nodes, edges=edges)
        expect(result.success, True, "success")
        found = {name: result.nodes[name].state.value for name in ("then", "other", "end")}
        expect(found, states, "states")

    return check


async def _inclusive(it: Subject) -> None:
    """Several conditions may hold: each branch whose condition holds runs."""
    nodes = {"n": uses("add", by=6), **{f"by{k}": uses("add", by=k) for k in (2, 3, 5)}}
    edges = [{"from": "n", "to": f"by{k}", "when": f"n.output % {k} == 0"} for k in (2, 3, 5)]
    result = await it.run(nodes, edges=edges)
    ran = {name for name, record in result.nodes.items() if record.state == "succeeded"}
    expect(ran, {"n", "by2", "by3"}, "nodes that ran")


async def _all_dead(it: Subject) -> None:
    """Nodes that no live edge reaches are skipped, and so is all that comes after them alone."""
    nodes = {"a": uses("add"), "b": uses("add"), "c": uses("add", "b"), "d": uses("add", "c", "b")}
    result = await it.run(nodes, edges=[{"from": "a", "to": "b", "when": "a.output > 99"}])
    expect(result.success, True, "success")
    states = {name: record.state.value for name, record in result.nodes.items()}
    skipped = dict.fromkeys("bcd", "skipped")
    expect(states, {"a": "succeeded", **skipped}, "states")


_RULES = {
    # join: what becomes of it after one success and one failure; after one success and one skip
    "all_success": ("skipped", "succeeded"),
    "all_done": ("succeeded", "succeeded"),
    "any_success": ("succeeded", "succeeded"),
    "none_failed": ("skipped", "succeeded"),
}


def _join_rule(rule: str) -> Callable[[Subject], Awaitable[None]]:
    async def check(it: Subject) -> None:
        for bad, wanted in zip(("fail", "add"), _RULES[rule], strict=True):
            nodes = {
                "start": uses("add"),
                "good": uses("add", "start"),
                "bad": uses(bad),
                "join": uses("seen", "good", "bad", join=rule),
            }
            when = "true" if bad == "fail" else "start.output > 99"
            edges = [{"from": "start", "to": "bad", "when": when}]
            config = {"execution": {"fail_fast": False}}
            result = await it.run(nodes, edges=edges, config=config)
            expect(result.nodes["join"].state.value, wanted, f"{rule} beside {bad}")

    return check


async def _own_condition(it: Subject) -> None:
    for wanted in (True, False):
        nodes = {
            "a": uses("odd", upstream=7 if wanted else 8),
            "b": uses("add", "a", **{"if": "a.output.odd"}),
            "c": uses("add", "b"),
            "d": uses("add", "a", "b", join="all_done"),
        }
        result = await it.run(nodes)
        found = {name: record.state.value for name, record in result.nodes.items()}
        word = "succeeded" if wanted else "skipped"
        expect(found, {"a": "succeeded", "b": word, "c": word, "d": "succeeded"}, "states")


async def _long_chain(it: Subject) -> None:
    nodes = {"n0": uses("add")}
    nodes |= {f"n{at}": uses("add", f"n{at - 1}") for at in range(1, 300)}
    expect((await it.run(nodes)).output, 300, "output of a chain of 300")


async def _wrong_definition(it: Subject) -> None:
    bad = {"nodes": {"a": uses("add", "nobody")}}
    expect(await it.backend.validate(bad), False, "validate() of a definition with a problem")
    expect(
        await it.backend.validate({"nodes": {"a": uses("add")}}), True, "validate() of a good one"
    )


_CASES: dict[str, Callable[[Subject], Awaitable[None]]] = {
    "linear": _linear,
    "async function": _async_function,
    "input and its defaults": _input,
    "diamond": _diamond,
    "uneven branches join once": _uneven,
    "chained joins": _chained_joins,
    "join order independent of speed and name": _independent_of_speed,
    "no read from non-ancestors": _no_strangers,
    "condition true": _condition(7, {"then": "succeeded", "other": "skipped", "end": "succeeded"}),
    "condition false": _condition(8, {"then": "skipped", "other": "succeeded", "end": "succeeded"}),
    "inclusive branches": _inclusive,
    "all edges dead": _all_dead,
    "a node's own condition": _own_condition,
    **{f"join {rule}": _join_rule(rule) for rule in _RULES},
    "300-chain": _long_chain,
    "wrong definition": _wrong_definition,
}

SHAPES = [
    Case(name=name, capability=Capability.ASYNC, check=check) for name, check in _CASES.items()
]
