"""Behaviours of graphs: order, joins, conditions, what parameters get, values, errors."""

from collections.abc import Iterator
from typing import Any

from tests.behaviours.core import B, Behaviour, Tree, uses

__all__ = ["graphs"]

ONE = uses("one")
BAD = uses("fail")


def graphs() -> Iterator[Behaviour]:
    """All of them."""
    yield from _shapes()
    yield from _joins()
    yield from _conditions()
    yield from _binding()
    yield from _values()
    yield from _expressions()


def _shapes() -> Iterator[Behaviour]:
    yield B("one node", {"a": ONE}, output=1, attempts={"a": 1})
    yield B("a node that gives nothing", {"a": uses("nothing")}, output=None, outputs={"a": None})
    chain = {
        f"n{at}": uses("add", x=0, y=at, needs=[f"n{at - 1}"] if at else []) for at in range(6)
    }
    yield B("a chain", chain, output=5)
    yield B("two ends", {"a": ONE, "b": uses("echo", value=2)}, output={"a": 1, "b": 2})
    yield B(
        "a diamond",
        {
            "a": ONE,
            "b": uses("add", x="${{ a.output }}", y=1, needs=["a"]),
            "c": uses("add", x="${{ a.output }}", y=2, needs=["a"]),
            "d": uses("echo", value="${{ b.output + c.output }}", needs=["b", "c"]),
        },
        output=5,
    )
    wide = {f"w{at}": uses("echo", value=at, needs=["a"]) for at in range(30)}
    last = uses("echo", value="${{ w7.output + w29.output }}", needs=list(wide))
    yield B("a wide graph", {"a": ONE, **wide, "z": last}, output=36)
    yield B("at most two at a time", {**wide, "a": ONE}, config={"execution": {"max_parallel": 2}})
    yield B("start, end and passthrough", {
        "s": uses("start"), "p": uses("passthrough", x=1, needs=["s"]),
        "e": uses("end", needs=["p"]),
    })  # fmt: skip
    yield B("an input", {"a": uses("whole")}, input={"x": [1, {"y": None}]},
            output={"x": [1, {"y": None}]})  # fmt: skip
    yield B("no input", {"a": uses("whole")}, output={})
    yield B("an input with a default", {"a": uses("whole")}, input={},
            inputs={"x": {"type": "integer", "default": 5}}, output={"x": 5})  # fmt: skip
    yield B("a node's facts", {"a": uses("facts")},
            output={"flow": "flow", "node": "a", "attempt": 1})  # fmt: skip
    yield B("an idempotency key", {"a": uses("key", idempotency_key="k-${{ inputs.k }}")},
            input={"k": 5}, output="k-5")  # fmt: skip
    yield B("a failure stops what comes after", {"a": BAD, "b": {**ONE, "needs": ["a"]}},
            state="failed", error="node 'a': ValueError: no luck",
            states={"a": "failed", "b": "cancelled"}, attempts={"b": 0})  # fmt: skip
    yield B("others go on without fail_fast", {
        "a": BAD, "b": uses("nap_later", seconds=0.01), "c": {**ONE, "needs": ["b"]},
    }, config={"execution": {"fail_fast": False}}, state="failed", states={"c": "succeeded"})  # fmt: skip


def _joins() -> Iterator[Behaviour]:
    """Every rule of joining, over every mixture of two that succeed, fail or are skipped."""
    kinds: dict[str, Tree] = {"ok": ONE, "bad": BAD, "not": {**ONE, "if": "1 == 2"}}
    for rule in ("all_success", "all_done", "any_success", "none_failed"):
        for first, second in (
            *(("ok", "ok"), ("ok", "bad"), ("bad", "bad"), ("ok", "not"), ("not", "not")),
            ("bad", "not"),
        ):
            yield B(
                f"join {rule} of {first} and {second}",
                {
                    "a": kinds[first],
                    "b": kinds[second],
                    "j": {**ONE, "needs": ["a", "b"], "join": rule},
                    "k": {**ONE, "needs": ["j"], "join": "all_done"},
                },
                config={"execution": {"fail_fast": False}},
                racy=(first, second) == ("bad", "bad"),
                # A failure that a join goes on in spite of is none of the run's.
                state=_ended(rule, {first, second}),
                states={"j": "succeeded" if _joins_on(rule, {first, second}) else "skipped"},
            )


def _joins_on(rule: str, came: set[str]) -> bool:
    return {
        "all_success": "ok" in came and "bad" not in came,
        "all_done": True,
        "any_success": "ok" in came,
        "none_failed": "bad" not in came,
    }[rule]


def _ended(rule: str, came: set[str]) -> str:
    return "failed" if "bad" in came and not _joins_on(rule, came) else "succeeded"


def _conditions() -> Iterator[Behaviour]:
    for text, state in (
        ("1 == 1", "succeeded"),
        ("1 == 2", "skipped"),
        ("inputs.x > 2", "succeeded"),
    ):
        yield B(f"if {text}", {"a": {**ONE, "if": text}}, input={"x": 3}, states={"a": state})
    yield B("if that fails", {"a": {**ONE, "if": "inputs.nosuch > 2"}}, state="failed",
            error="node 'a': ExpressionError")  # fmt: skip
    for value, states in ((1, {"b": "succeeded", "c": "skipped", "d": "skipped"}),
                          (0, {"b": "skipped", "c": "succeeded", "d": "succeeded"})):  # fmt: skip
        yield B(
            f"edges with conditions, {value}",
            {"a": uses("echo", value=value), "b": ONE, "c": ONE, "d": {**ONE, "needs": ["c"]}},
            edges=[
                {"from": "a", "to": "b", "when": "a.output == 1"},
                {"from": "a", "to": "c", "when": "a.output == 0"},
            ],
            states=states,
        )
    yield B("an edge whose condition fails", {"a": ONE, "b": ONE},
            edges=[{"from": "a", "to": "b", "when": "a.output.x == 1"}], state="failed")  # fmt: skip
    yield B("an edge whose condition is no boolean", {"a": ONE, "b": ONE},
            edges=[{"from": "a", "to": "b", "when": "a.output"}], state="failed")  # fmt: skip
    dead = {"a": {**ONE, "if": "false"}, "b": {**ONE, "needs": ["a"]}, "c": {**ONE, "needs": ["b"]}}
    yield B("a dead path", dead, states={"a": "skipped", "b": "skipped", "c": "skipped"},
            output=None)  # fmt: skip


def _binding() -> Iterator[Behaviour]:
    one, pair = {"one": ONE}, {"p": uses("echo", value={"x": 3, "y": 4})}
    cases: dict[str, tuple[Tree, Any]] = {
        "what flows in": ({**one, "b": uses("only", needs=["one"])}, 1),
        "an output by its name": ({**one, "b": {**uses("later"), "needs": ["one"]}}, 5),
        "keys of an output": ({**pair, "b": uses("add", needs=["p"])}, 7),
        "keys, and one that is given": ({**pair, "b": uses("add", y=1, needs=["p"])}, 4),
        "a sole parameter": ({**one, "b": uses("echo", needs=["one"])}, 1),
        "by place": ({**pair, "b": uses("by_place", needs=["p"])}, [3, 4]),
        "by name": ({"b": uses("by_name", x=2)}, 2),
        "whatever is given": ({"b": uses("anything", x=1, y=2)}, {"x": 1, "y": 2}),
        "an instance": ({"b": uses("adder", x=1)}, 101),
        "a method": ({"b": uses("adder.method", x=1)}, -99),
        "an async instance": ({"b": uses("waiter", x=1)}, 1),
        "a partial": ({"b": uses("seven", x=1)}, 8),
        "a coroutine": ({"b": uses("later", value=[1])}, [1]),
        "a number that is text": ({"b": uses("add", x="${{ inputs.n }}")}, 14),
        "several that flow in": (
            {"a": ONE, "c": uses("echo", value=2), "b": uses("only", needs=["a", "c"])},
            {"a": 1, "c": 2},
        ),
    }
    for name, (nodes, output) in cases.items():
        yield B(f"binding: {name}", nodes, input={"n": 4}, output=output)
    wrong = {
        "what is not taken": {"b": uses("add", x=1, z=2)},
        "what is missing": {"b": uses("order_of_a_map", x=1)},
        "two that are missing": {"a": ONE, "b": uses("behaviour_nodes:Point", needs=["a"])},
        "an expression that fails": {"b": uses("echo", value="${{ inputs.nosuch }}")},
    }
    for name, nodes in wrong.items():
        yield B(f"binding: {name}", nodes, state="failed")
    yield B("a model", {"a": uses("order", id=3)}, output={"id": 3, "name": "none"})
    yield B("a map that becomes a model", {"a": uses("order_of_a_map")},
            output={"id": 12, "name": "none"})  # fmt: skip
    yield B("a map that is no model", {"a": uses("wrong_order")}, state="failed",
            error="node 'a': OutputError")  # fmt: skip
    schema = {"type": "object", "required": ["x"]}
    yield B(
        "an output as its schema says", {"a": {**uses("echo", value={"x": 1}), "output": schema}}
    )
    yield B("an output that is none", {"a": {**uses("echo", value={}), "output": schema}},
            state="failed", error="node 'a': OutputError")  # fmt: skip


#: Those that are refused.
_REFUSED = {"half", "keys", "set", "object", "function", "iterator", "huge", "deep", "too long"}  # fmt: skip


def _values() -> Iterator[Behaviour]:
    names = (
        *("none", "true", "big", "huge", "float", "minus", "nan", "infinite", "text", "empty"),
        *("emoji", "bidi", "nul", "half", "bytes", "list", "tuple", "map", "keys", "set", "date"),
        *("time", "decimal", "uuid", "path", "enum", "dataclass", "model", "object", "function"),
        *("iterator", "deep", "long", "too long"),
    )
    for name in names:
        # What becomes of each is the matter of docs/reference/values.md and its tests.
        yield B(
            f"value: {name}",
            {
                "a": uses("value", name=name),
                "b": uses("echo", value="${{ a.output }}", needs=["a"]),
            },
            state="failed" if name in _REFUSED else "succeeded",
        )


def _expressions() -> Iterator[Behaviour]:
    for text, output in {
        "1 + 2": 3, "'a' + 'b'": "ab", "[1, 2].map(x, x * 2)": [2, 4], "inputs.x.size()": 2,
        "has(inputs.nosuch) ? 1 : 2": 2, "inputs.x[1] in [2]": True,
    }.items():  # fmt: skip
        yield B(f"expression {text}", {"a": uses("echo", value="${{ " + text + " }}")},
                input={"x": [1, 2]}, output=output)  # fmt: skip
    for text in ("1 / 0", "inputs.x[5]", "inputs.x.y", "int('a')"):
        yield B(f"expression {text} fails", {"a": uses("echo", value="${{ " + text + " }}")},
                input={"x": [1, 2]}, state="failed")  # fmt: skip
    yield B("a condition chooses", {
        "c": uses("condition", cases={"low": "inputs.n < 5", "high": "inputs.n > 8"}, default="mid"),
        "low": ONE, "mid": ONE, "high": ONE,
    }, input={"n": 9}, edges=[
        {"from": "c", "to": name, "when": f"c.output == '{name}'"} for name in ("low", "mid", "high")
    ], states={"low": "skipped", "mid": "skipped", "high": "succeeded"})  # fmt: skip
    yield B("a secret", {"a": uses("echo", value="${{ secrets.WORD }}")}, output="***")
    yield B("a secret that there is not", {"a": uses("echo", value="${{ secrets.NOSUCH }}")},
            state="failed", error="node 'a': SecretError", own_words=True)  # fmt: skip
