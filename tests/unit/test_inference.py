"""Types of expressions that are known before anything runs, held against what then happens."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcore.check.infer import Infer
from flowcore.errors import ExpressionError
from flowcore.expr.cel import compile_expression
from flowcore.expr.scan import tokenize
from flowcore.expr.tree import parse

SCHEMAS: dict[str, Any] = {
    "a": {
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "f": {"type": "number"},
            "s": {"type": "string"},
            "b": {"type": "boolean"},
            "l": {"type": "array"},
            "m": {"type": "object", "properties": {"s": {"type": "string"}}},
            "any": {},
            "either": {"type": ["string", "integer"]},
        },
    }
}


def _infer(text: str) -> tuple[str | None, list[tuple[str, int]]]:
    infer = Infer(lambda name: SCHEMAS.get(name, {}))
    found = infer.type_of(parse(tokenize(text)[0]))
    return found, infer.problems


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a.n > 1 && !a.b", "bool"),
        ("a.s + 'x'", "string"),
        ("a['s'] + 'x'", None),
        ("nodes.a.m.s + nodes['a'].s", "string"),
        ("a.l.filter(x, x > 1)", "list"),
        ("a.l.exists(a, a.s + 1 > 2)", "bool"),
        ("a.b ? a.s : 'none'", "string"),
        ("a.b ? a.s : 1", None),
        ("a.any + 1", None),
        ("a.either + 1", None),
        ("unknown.s + 1", None),
        ("a.n + a.f", "double"),
        ("a.n == a.s", "bool"),
        ("has(a.nosuch)", "bool"),
        ("size(a.m) + 1", "int"),
        ("string(a.n)", "string"),
        ("b'x'", "bytes"),
        ("'b'", "string"),
        ("{'a': 1}", "map"),
        ("timestamp(a.s) - timestamp(a.s) > duration('1s')", "bool"),
    ],
)
def test_what_is_declared_gives_a_type_and_no_complaint(text: str, kind: str | None) -> None:
    assert _infer(text) == (kind, [])


@pytest.mark.parametrize(
    ("text", "words", "at"),
    [
        (
            "a.n + a.s",
            "there is no '+' of int and string; int(…), double(…) and string(…) convert",
            4,
        ),
        ("1 < 2 && a.l > 3", "there is no '>' of list and int", 13),
        ("a.any && a.n", "'&&' is of true and false, not of int", 6),
        ("a.s ? 1 : 2", "'?' is of true and false, not of string", 4),
        ("-a.s", "there is no '-' of string", 0),
        ("2 in a.n", "'in' looks into a list or a map, not into int", 2),
        ("a.n.x", "cannot take 'x' of int", 4),
        ("a.s[0]", "cannot take an item of text", 3),
        ("size(a.n)", "there is no size() of int", 0),
        ("a.n.startsWith(a.any)", "there is no startsWith() of int and something", 4),
        ("a.l.map(x, [x, !a.n])", "there is no '!' of int", 15),
    ],
)
def test_what_cannot_be_worked_out_whatever_the_values_are_is_told(
    text: str, words: str, at: int
) -> None:
    assert _infer(text)[1] == [(words, at)]


VALUES: dict[str, Any] = {
    "n": 3,
    "f": 1.5,
    "s": "x",
    "b": True,
    "l": [1],
    "m": {"s": "y"},
    "any": 2,
    "either": "z",
}
_ATOMS = st.sampled_from(
    [f"a.{key}" for key in VALUES] + ["1", "2.5", "'t'", "true", "null", "[1, 2]", "{'k': 1}"]
)
_PATTERNS = (
    *("{} + {}", "{} - {}", "{} * {}", "{} < {}", "{} >= {}", "{} == {}", "{} in {}"),
    *("({})[{}]", "[{}, {}]", "string({}) + string({})"),
)
_EXPRESSIONS = st.recursive(
    _ATOMS,
    lambda inner: (
        st.builds(str.format, st.sampled_from(_PATTERNS), inner, inner)
        | st.builds(
            str.format,
            st.sampled_from(("(-{})", "(!{})", "({})", "size({})", "({}).k", "[1].map(x, {})")),
            inner,
        )
    ),
    max_leaves=5,
)


@given(_EXPRESSIONS)
@settings(max_examples=400)
def test_a_complaint_is_never_wrong_and_nor_is_a_type(text: str) -> None:
    found, problems = _infer(text)
    try:
        value = compile_expression(text).evaluate({"a": VALUES})
    except ExpressionError:
        return
    assert not problems
    kinds = {"bool": bool, "string": str, "list": list, "map": dict, "int": int, "double": float}
    if found in kinds:
        assert type(value) is kinds[found]
