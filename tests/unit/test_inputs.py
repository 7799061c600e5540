"""A run's input against what its flow declares."""

from typing import Any

import pytest

from flowcore.engine.runs.inputs import accept_input, select_declared
from flowcore.errors import UsageError

DECLARED = {
    "url": {"type": "string"},
    "depth": {"type": "integer", "default": 1},
    "mode": {"enum": ["fast", "slow"], "default": "fast"},
    "maybe": {"type": ["number", "null"], "default": None},
}


def test_a_flow_that_declares_nothing_takes_anything() -> None:
    assert accept_input({}, [1, 2]) == [1, 2]
    assert accept_input({}, None) is None


def test_defaults_are_filled_in() -> None:
    assert accept_input(DECLARED, {"url": "u"}) == {
        "url": "u",
        "depth": 1,
        "mode": "fast",
        "maybe": None,
    }


@pytest.mark.parametrize(
    ("name", "hint"),
    [("dept", "did you mean 'depth'"), ("x", "there is 'url', 'depth', 'mode', 'maybe'")],
)
def test_what_is_not_declared_is_refused(name: str, hint: str) -> None:
    refused = f"bad input: '{name}' is not an input of this flow .{hint}"
    with pytest.raises(UsageError, match=refused):
        accept_input(DECLARED, {"url": "u", name: 1})


def test_a_sub_flow_takes_what_it_declares_of_what_flows_into_it() -> None:
    assert select_declared(DECLARED, {"url": "u", "extra": 1}) == {"url": "u"}
    assert select_declared({}, {"url": "u", "extra": 1}) == {"url": "u", "extra": 1}
    assert select_declared(DECLARED, [1]) == [1]


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        accept_input(DECLARED, {"depth": "x", "mode": "odd"})
    assert all(f"'{name}'" in str(caught.value) for name in ("url", "depth", "mode"))


def test_inputs_are_given_by_name() -> None:
    with pytest.raises(UsageError, match="by name"):
        accept_input(DECLARED, "u")


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("string", "x", 1),
        ("number", 1.5, True),
        ("integer", 2.0, 2.5),
        ("integer", 2, float("inf")),
        ("boolean", False, 0),
        ("array", [1], "x"),
        ("object", {"a": 1}, [1]),
        ("null", None, 0),
    ],
)
def test_kinds_are_those_of_json_schema(kind: str, good: Any, bad: Any) -> None:
    accept_input({"x": {"type": kind}}, {"x": good})
    with pytest.raises(UsageError):
        accept_input({"x": {"type": kind}}, {"x": bad})
    accept_input({"x": True}, {"x": bad})


RICH: dict[str, Any] = {
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5, "default": "x"},
    "order": {
        "type": "object",
        "required": ["id"],
        "properties": {
            "id": {"type": "string", "format": "ipv4"},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "minItems": 1},
        },
        "additionalProperties": False,
        "$defs": {"line": {"type": "object", "properties": {"n": {"exclusiveMinimum": 0}}}},
        "default": {"id": "127.0.0.1"},
    },
}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"port": 0}, "'port' does not fit: 0 is less than the minimum of 1"),
        ({"port": "80"}, "'port' should be integer, got '80'"),
        ({"port": 80, "name": "A"}, '\'name\' does not fit: "A" does not match "^[a-z]+$"'),
        ({"port": 80, "order": {}}, "'order' does not fit: \"id\" is a required property"),
        ({"port": 80, "order": {"id": "x"}}, '\'order.id\' does not fit: "x" is not a "ipv4"'),
        (
            {"port": 80, "order": {"id": "::1", "lines": [{"n": 1}, {"n": 0}]}},
            "'order.lines[1].n' does not fit: 0 is less than or equal to the minimum of 0",
        ),
        (
            {"port": 80, "order": {"id": "1.1.1.1", "more": 1}},
            "'order' does not fit: Additional properties are not allowed ('more' was unexpected)",
        ),
    ],
)
def test_all_of_json_schema_is_held(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        accept_input(RICH, given)
    assert problem in str(caught.value)


def test_what_fits_all_of_json_schema_passes_with_its_defaults() -> None:
    lines = ({"n": 1}, {"n": 2.5})
    given = {"port": 80, "order": {"id": "10.0.0.1", "lines": lines}}
    assert accept_input(RICH, given) == {**given, "name": "x"}


def test_a_large_value_is_not_told_whole() -> None:
    with pytest.raises(UsageError) as caught:
        accept_input({"x": {"type": "string", "maxLength": 9}}, {"x": "y" * 10_000})
    assert len(str(caught.value)) < 200


def test_a_schema_that_refers_to_nothing_is_told_of_and_nothing_is_fetched() -> None:
    with pytest.raises(UsageError, match="refers to nothing"):
        accept_input({"x": {"$ref": "#/$defs/y"}}, {"x": 1})
    with pytest.raises(UsageError, match="stays inside of the schema"):
        accept_input({"x": {"$ref": "http://127.0.0.1:1/schema.json"}}, {"x": 1})


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.1, "the number 1.1"), (True, "true"), (None, "null"), ({"a": 1}, "a")],
)
def test_what_was_given_is_shown_as_what_it_is(value: Any, shown: str) -> None:
    with pytest.raises(UsageError, match=f"'url' should be string, got .*{shown}"):
        accept_input({"url": {"type": "string"}}, {"url": value})
