"""How a function gets its arguments: every rule of docs/quickstart.md, and what is next to it."""

import decimal
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcore import Context, node
from flowcore.check.check import check
from flowcore.engine.attempts.binding import bind
from flowcore.engine.attempts.upstream import Upstream
from flowcore.errors import BindingError
from flowcore.graph.load import load_tree
from flowcore.nodes.signature import signature_of
from flowcore.plan.compile import compile_plan
from flowcore.run.wire import pack
from flowcore.testing import Flows

_ctx: Any = object()


def _plan(ids: list[str], pred: list[list[int]], uses: str = "acme:f") -> Any:

    nodes = {
        id: {"uses": uses, "needs": [ids[one] for one in before]}
        for id, before in zip(ids, pred, strict=True)
    }
    return compile_plan(check(load_tree({"nodes": nodes}), resolve=False))


class _Reader:
    """Outputs of one run."""

    def __init__(self, input: Any, outputs: Mapping[int, Any]) -> None:

        self._input = pack(input)
        self._outputs = {node: pack(value) for node, value in outputs.items()}

    def input(self, run: str) -> bytes:
        return self._input

    def outputs(self, run: str, nodes: Any = None) -> Mapping[int, bytes]:
        return {node: self._outputs[node] for node in nodes or () if node in self._outputs}

    def sizes(self, run: str, nodes: Any = None) -> Mapping[int, int]:
        return {node: len(blob) for node, blob in self.outputs(run, nodes).items()}


def call(
    function: Callable[..., Any],
    given: Mapping[str, Any] | None = None,
    *,
    before: Mapping[str, Any] | None = None,
    input: Any = None,
) -> Any:
    """Bind and call, after nodes that gave ``before``, each of them after the one before."""
    outputs = dict(before or {})
    ids = [*outputs, "node"]
    plan = _plan(ids, [[at - 1] if at else [] for at in range(len(ids))])
    reader: Any = _Reader({} if input is None else input, dict(enumerate(outputs.values())))
    upstream = Upstream(run="r", plan=plan, reader=reader)
    args, kwargs = bind(
        signature_of(function),
        given or {},
        plan=plan,
        node=len(ids) - 1,
        upstream=upstream,
        context=_ctx,
    )
    return function(*args, **kwargs)


def one(a: Any) -> Any:
    return {"a": a}


def two(a: Any, b: Any) -> Any:
    return {"a": a, "b": b}


def defaulted(a: Any, b: Any = "default") -> Any:
    return {"a": a, "b": b}


def optional(a: Any = "default", b: Any = "default") -> Any:
    return {"a": a, "b": b}


def keyword_only(*, a: Any, b: Any = "default") -> Any:
    return {"a": a, "b": b}


def positional_only(a: Any, b: Any = "default", c: Any = "default", /) -> Any:
    return {"a": a, "b": b, "c": c}


def anything(a: Any, /, *args: Any, **more: Any) -> Any:
    return {"a": a, "args": args, **more}


def with_context(a: Any, ctx: Context) -> Any:
    return {"a": a, "ctx": ctx is _ctx}


def by_annotation(where: Context, a: Any) -> Any:
    return {"a": a, "ctx": where is _ctx}


def by_union(a: Any, where: Context | None = None) -> Any:
    return {"a": a, "ctx": where is _ctx}


def by_text(a: Any, where: "Context | None" = None) -> Any:
    return {"a": a, "ctx": where is _ctx}


def another_context(a: Any, where: decimal.Context | None = None) -> Any:
    return {"a": a, "where": where}


def another_by_text(a: Any, where: "decimal.Context | None" = None) -> Any:
    return {"a": a, "where": where}


def whole(upstream: Any, b: Any = "default") -> Any:
    return {"upstream": upstream, "b": b}


def whole_and(upstream: Any, a: Any) -> Any:
    return {"upstream": upstream, "a": a}


RULES: dict[str, tuple[Callable[..., Any], dict[str, Any], Any]] = {
    # 1. with
    "with": (two, {"given": {"a": 1, "b": 2}, "before": {"x": {"a": 8, "b": 9}}}, {"a": 1, "b": 2}),
    "with gives null": (one, {"given": {"a": None}, "before": {"x": {"a": 8}}}, {"a": None}),
    "with in part, the rest by name": (
        two,
        {"given": {"a": 1}, "before": {"x": {"b": 9}}},
        {"a": 1, "b": 9},
    ),
    "with in part, one left": (two, {"given": {"b": 2}, "before": {"x": "t"}}, {"a": "t", "b": 2}),
    # 2. the context, the upstream
    "ctx": (with_context, {"before": {"x": "t"}}, {"a": "t", "ctx": True}),
    "annotated": (by_annotation, {"before": {"x": "t"}}, {"a": "t", "ctx": True}),
    "annotated or none": (by_union, {"before": {"x": "t"}}, {"a": "t", "ctx": True}),
    "annotated as text": (by_text, {"before": {"x": "t"}}, {"a": "t", "ctx": True}),
    "another Context": (another_context, {"before": {"x": "t"}}, {"a": "t", "where": None}),
    "another Context as text": (another_by_text, {"before": {"x": "t"}}, {"a": "t", "where": None}),
    "upstream": (
        whole,
        {"before": {"x": {"b": 9}}},
        {"upstream": {"b": 9}, "b": 9},
    ),
    "upstream of a start": (whole, {"input": {"z": 1}}, {"upstream": {"z": 1}, "b": "default"}),
    # 3. an ancestor of that id
    "an ancestor": (two, {"before": {"a": 1, "b": 2}}, {"a": 1, "b": 2}),
    "an ancestor, the value of its name": (one, {"before": {"a": {"a": 5}, "x": 0}}, {"a": 5}),
    "an ancestor before a key": (one, {"before": {"a": 1, "x": {"a": 2}}}, {"a": 1}),
    # 4. a key of what ancestors gave, then of the input
    "a key": (two, {"before": {"x": {"a": 1}, "y": {"b": 2}}}, {"a": 1, "b": 2}),
    "the latest key": (one, {"before": {"x": {"a": 1}, "y": {"a": 2}, "z": {}}}, {"a": 2}),
    "a key that is null": (one, {"before": {"x": {"a": 1}, "y": {"a": None}}}, {"a": None}),
    "a key before an input": (one, {"before": {"x": {"a": 1}}, "input": {"a": 9}}, {"a": 1}),
    "an input": (two, {"before": {"x": 0}, "input": {"a": 1, "b": 2}}, {"a": 1, "b": 2}),
    "a key and an input": (
        two,
        {"before": {"x": {"b": 2}}, "input": {"a": 1}},
        {"a": 1, "b": 2},
    ),
    "an optional one by name": (
        optional,
        {"before": {"x": {"b": 2}}},
        {"a": "default", "b": 2},
    ),
    # 5. what flows in, for a sole required parameter
    "what flows in": (one, {"before": {"x": "t"}}, {"a": "t"}),
    "a map that flows in": (one, {"before": {"x": {"q": 1}}}, {"a": {"q": 1}}),
    "the input that flows in": (one, {"input": "t"}, {"a": "t"}),
    "what flows in beside a default": (
        defaulted,
        {"before": {"x": "t"}},
        {"a": "t", "b": "default"},
    ),
    "what flows in, by keyword": (keyword_only, {"before": {"x": 3}}, {"a": 3, "b": "default"}),
    # 6. the default
    "defaults": (optional, {"before": {"x": "t"}}, {"a": "default", "b": "default"}),
    # by place only
    "by place": (
        positional_only,
        {"given": {"a": 1, "b": 2, "c": 3}},
        {"a": 1, "b": 2, "c": 3},
    ),
    "by place with a gap": (
        positional_only,
        {"given": {"a": 1, "c": 3}},
        {"a": 1, "b": "default", "c": 3},
    ),
    "any keywords": (
        anything,
        {"given": {"a": 1, "q": 2}, "before": {"x": {"z": 3}}},
        {"a": 1, "args": (), "q": 2},
    ),
    "a partial": (partial(two, b=2), {"before": {"x": "t"}}, {"a": "t", "b": 2}),
    "a node": (node(two), {"before": {"x": {"a": 1, "b": 2}}}, {"a": 1, "b": 2}),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_parameter_takes_the_first_there_is(rule: str) -> None:
    function, about, expected = RULES[rule]
    assert call(function, **about) == expected


REFUSED: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    "a key is missing": (
        two,
        {"before": {"x": {"b": 2}}},
        r"acme:f needs 'a', and neither 'with', x nor the run's input gives a value by that name",
    ),
    "a key is missing of an input": (
        two,
        {"input": {"b": 2, "c": 3}},
        r"needs 'a', and neither 'with' nor the run's input \(b, c\) gives a value",
    ),
    "both are missing": (two, {"before": {"x": {"q": 2}}}, r"needs 'a', 'b', and neither"),
    "an ancestor has the other's id": (two, {"before": {"b": 7}}, r"needs 'a'"),
    "another one than upstream": (whole_and, {"before": {"x": "t"}}, r"needs 'a'"),
    "with names what is not taken": (one, {"given": {"q": 1}}, r"gives 'q', which acme:f does not"),
    "with gives the context": (
        with_context,
        {"given": {"ctx": 1}, "before": {"x": 1}},
        r"gives 'ctx', which is the Context of acme:f: it is given by itself",
    ),
}


@pytest.mark.parametrize("rule", REFUSED)
def test_what_finds_no_value_is_told_by_name_and_place(rule: str) -> None:
    function, about, words = REFUSED[rule]
    with pytest.raises(BindingError, match=words):
        call(function, **about)


_NAMES = st.sampled_from(["a", "b", "x", "y"])
_MAPS = st.dictionaries(_NAMES, st.integers(0, 99), max_size=3)


@given(
    given_=_MAPS,
    before=st.dictionaries(_NAMES, st.integers(0, 99) | _MAPS, max_size=3),
    input=_MAPS,
)
def test_no_parameter_of_two_ever_gets_a_whole_because_a_key_is_missing(
    given_: dict[str, int], before: dict[str, Any], input: dict[str, int]
) -> None:
    """Against a second, plain account of the rules."""
    given_ = {name: value for name, value in given_.items() if name in ("a", "b")}
    expected: dict[str, Any] = {}
    for name in ("a", "b"):
        folded = [one for one in before.values() if isinstance(one, dict) and name in one]
        if name in given_:
            expected[name] = given_[name]
        elif name in before:
            own = before[name]
            expected[name] = own[name] if isinstance(own, dict) and name in own else own
        elif folded:
            expected[name] = folded[-1][name]
        elif name in input:
            expected[name] = input[name]
    if len(given_) == 1 and len(expected) == 1:
        (left,) = {"a", "b"} - expected.keys()
        expected[left] = [*before.values()][-1] if before else input
    if len(expected) == 2:
        assert call(two, given_, before=before, input=input) == expected
        return
    with pytest.raises(BindingError, match="and neither 'with'"):
        call(two, given_, before=before, input=input)


HERE = f"{__name__}:"


def item_and_index(a: Any, index: int) -> Any:
    return {"a": a, "index": index}


ITEMS: dict[str, tuple[str, Any, dict[str, Any], Any]] = {
    "the item": ("one", 5, {}, {"a": 5}),
    "the item, though an input has its name": ("one", 5, {"a": 9}, {"a": 5}),
    "a key of the item": ("one", {"a": 1, "z": 2}, {"a": 9}, {"a": 1}),
    "a whole item that is a map": ("one", {"z": 2}, {"a": 9}, {"a": {"z": 2}}),
    "keys of the item": ("two", {"a": 1, "b": 2}, {}, {"a": 1, "b": 2}),
    "a key and an input": ("two", {"a": 1}, {"b": 9}, {"a": 1, "b": 9}),
    "beside a default": ("defaulted", 5, {"a": 9}, {"a": 5, "b": "default"}),
    "named, with an input": ("defaulted", {"b": 1}, {"a": 9}, {"a": 9, "b": 1}),
    "with its index": ("item_and_index", {"a": 1}, {}, {"a": 1, "index": 0}),
}


@pytest.mark.parametrize(
    ("scope", "rule"),
    [
        (scope, rule)
        for scope in ("map", "loop")
        for rule in ITEMS
        if scope == "map" or "index" not in rule
    ],
)
def test_what_an_item_and_a_state_give(rule: str, scope: str) -> None:
    function, item, input, expected = ITEMS[rule]
    turn = {"for_each": [item]} if scope == "map" else {"max_iterations": 1, "initial": item}
    result = Flows().run({"nodes": {"n": {"uses": f"{HERE}{function}", **turn}}}, input)
    assert result.success, result.error
    assert result.output == ([expected] if scope == "map" else expected)


@pytest.mark.parametrize("scope", ["map", "loop"])
def test_a_missing_key_of_an_item_is_told(scope: str) -> None:
    item = {"b": 1}
    turn = {"for_each": [item]} if scope == "map" else {"max_iterations": 1, "initial": item}
    result = Flows().run({"nodes": {"n": {"uses": f"{HERE}two", **turn}}})
    place = {"map": "the item", "loop": "the state"}[scope]
    assert result.error is not None
    assert f"BindingError: {HERE}two needs 'a', and neither 'with', {place} nor" in result.error


def test_a_given_parameter_leaves_the_item_to_the_other() -> None:
    tree = {"n": {"uses": f"{HERE}two", "for_each": ["x"], "with": {"b": 2}}}
    result = Flows().run({"nodes": tree}, {"a": 9})
    assert result.output == [{"a": "x", "b": 2}]


def test_a_join_gives_its_outputs_by_name() -> None:
    give = {"uses": "passthrough"}
    nodes: dict[str, Any] = {
        "a": {**give, "with": {"q": 1}},
        "b": give,
        "n": {"uses": f"{HERE}two"},
    }
    nodes["n"]["needs"] = ["a", "b"]
    assert Flows().run({"nodes": nodes}, {"z": 3}).output == {"a": {"q": 1}, "b": {"z": 3}}


def test_an_ancestor_that_gave_nothing_is_looked_past() -> None:
    give = {"uses": "passthrough"}
    nodes = {
        "x": {**give, "with": {"a": 3}},
        "a": {**give, "needs": ["x"], "if": "1 == 2"},
        "n": {"uses": f"{HERE}one", "needs": ["x", "a"], "join": "none_failed"},
    }
    assert Flows().run({"nodes": nodes}).output == {"a": 3}
