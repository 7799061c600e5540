"""JSON Schemas from outside: none holds a process up, whatever it says and whatever is checked."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcore.check.check import check
from flowcore.errors import DefinitionError
from flowcore.graph.json_schema import _checker, schema_problem, value_problems
from flowcore.graph.load import load_tree
from flowcore.graph.schema_bounds import SchemaProblem, deepest_value


def _doubling(count: int, keys: bool = False) -> dict[str, Any]:
    """Definitions that refer to the next one twice, for the same value or for one inside."""

    def twice(number: int) -> dict[str, Any]:
        reference = {"$ref": f"#/$defs/d{number + 1}"}
        both: dict[str, Any] = {"allOf": [reference, dict(reference)]}
        return {"properties": {"a": both}} if keys else both

    definitions: dict[str, Any] = {f"d{number}": twice(number) for number in range(count)}
    return {"$defs": {**definitions, f"d{count}": {"type": "string"}}, "$ref": "#/$defs/d0"}


_ALTERNATIVES = [{"properties": {"left": {"$ref": "#/$defs/e"}}} for _ in range(3)]
_TREE_OF_ALTERNATIVES = {"$defs": {"e": {"anyOf": _ALTERNATIVES}}, "$ref": "#/$defs/e"}
_ANY_JSON = {
    "anyOf": [
        {"type": ["string", "number", "boolean", "null"]},
        {"type": "array", "items": {"$ref": "#"}},
        {"type": "object", "additionalProperties": {"$ref": "#"}},
    ]
}
_BINARY_TREE = {"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "v": {"minimum": 0}}}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (_doubling(30), "more than 10,000 checks"),
        (_doubling(30, keys=True), "more than 10,000 checks"),
        ({"$ref": "#"}, "refers to itself without end"),
        ({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#"}}}}, "without end"),
        ({"properties": {"a": {"$ref": "#/nope"}}}, "refers to nothing"),
        ({"$ref": "#anchor"}, "refers to nothing"),
        ({"$ref": "other.json"}, "stays inside of the schema"),
        ({"$dynamicRef": "#nope"}, "refers to nothing"),
        ({"items": {"$ref": "#/items/7"}, "prefixItems": [True]}, "refers to nothing"),
    ],
)
def test_a_schema_without_bounds_is_refused_when_it_is_read(
    schema: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SchemaProblem, match=reason):
        deepest_value(schema)
    for tree in ({"inputs": {"x": schema}}, {}):
        node = {"uses": "passthrough"} | ({} if tree else {"output": schema})
        with pytest.raises(DefinitionError, match=reason):
            check(load_tree({"id": "f", "nodes": {"a": node}, **tree}))


@pytest.mark.parametrize(
    ("schema", "deepest"),
    [
        (_doubling(5), None),
        (_ANY_JSON, None),
        (_BINARY_TREE, None),
        (_TREE_OF_ALTERNATIVES, 11),
        ({"properties": {f"k{n}": {"type": "string"} for n in range(5_000)}}, None),
        ({"$id": "urn:x", "$defs": {"a": {"$anchor": "here"}}, "$ref": "#here"}, None),
    ],
)
def test_a_schema_that_people_write_is_taken(schema: dict[str, Any], deepest: int | None) -> None:
    assert deepest_value(schema) == deepest
    assert schema_problem(schema) is None


def test_a_value_that_is_too_deep_for_a_schema_that_refers_to_itself_is_told_so() -> None:
    value: Any = {}
    for _ in range(11):
        value = {"left": value}
    assert value_problems(_TREE_OF_ALTERNATIVES, value, name="x") == []
    (problem,) = value_problems(_TREE_OF_ALTERNATIVES, {"left": value}, name="x")
    assert problem.startswith("'x' is nested 12 levels deep")


_EVIL = ("^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "(.*a){20}$", "^([a-z]+)*!$", "^(a?){30}a{30}$")


@pytest.mark.parametrize("pattern", _EVIL)
@pytest.mark.parametrize("where", ["pattern", "patternProperties", "propertyNames"])
def test_no_pattern_holds_a_process_up(pattern: str, where: str) -> None:
    text = "a" * 50_000 + "\n"
    if where == "pattern":
        schema: dict[str, Any] = {"pattern": pattern}
    elif where == "patternProperties":
        schema = {"patternProperties": {pattern: False}}
    else:
        schema = {"propertyNames": {"pattern": pattern}}
    began = time.process_time()
    value_problems(schema, text if where == "pattern" else {text: 1}, name="x")
    # A backtracking engine would take longer than the age of the universe.
    assert time.process_time() - began < 30


@pytest.mark.parametrize(
    "pattern", ["(?=a)b", "(?<!a)b", r"(a)\1", "(a{1000}){1000}", "(a", "[z-a]"]
)
def test_a_pattern_that_cannot_be_bounded_is_refused_by_its_place(pattern: str) -> None:
    problem = schema_problem({"properties": {"a": {"pattern": pattern}}})
    assert problem is not None
    place, reason = problem
    assert place == ["properties", "a", "pattern"]
    assert "without look-around and back-references" in reason


def test_a_plan_from_before_keeps_its_patterns_within_a_bound_of_steps() -> None:
    schema = {"pattern": "^(?!admin)[a-z]+$"}
    assert value_problems(schema, "user", name="x") == []
    assert value_problems(schema, "admin", name="x") != []
    slow = {"pattern": r"^(?=a)((a+)+)\2$"}
    began = time.process_time()
    value_problems(slow, "a" * 200 + "!", name="x")
    assert time.process_time() - began < 30


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"items": {"anyOf": [{"const": n} for n in range(5_000)]}}, list(range(5_000, 9_000))),
        ({"items": {"oneOf": [{"required": [f"k{n}"]} for n in range(9_000)]}}, [{}] * 1_000),
        ({"items": {"required": [f"k{n}" for n in range(5_000)]}}, [{}] * 2_000),
        ({"items": {"type": "string"}, "maxItems": 10**6}, list(range(200_000))),
    ],
)
def test_errors_of_much_data_are_not_all_made(schema: dict[str, Any], value: Any) -> None:
    began = time.process_time()
    (problem,) = value_problems(schema, value, name="x")
    assert problem.startswith("'x[0]' does not fit")
    # All of them would be millions of errors, and minutes.
    assert time.process_time() - began < 30
    small = value_problems(schema, value[:5], name="x")
    assert len(small) >= 1


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)
_schemas = st.sampled_from(
    [
        {"type": "object", "minProperties": 1},
        {"items": {"maxLength": 3}},
        {"additionalProperties": {"type": "number"}},
        {"uniqueItems": True},
        {"pattern": "^[a-z]*$"},
        {"not": {"multipleOf": 3}},
        _ANY_JSON,
    ]
)


@settings(max_examples=300)
@given(_schemas, _values)
def test_whatever_a_node_gives_is_checked_without_an_error_of_ours(
    schema: dict[str, Any], value: Any
) -> None:
    for problem in value_problems(schema, value, name="output"):
        assert problem.startswith("'output")


def test_the_validator_of_a_schema_is_made_once() -> None:
    schema = {"pattern": "^[a-z]+$", "maxLength": 5}
    assert _checker(schema)[0] is _checker(schema)[0]
    assert _checker(dict(schema))[0] is not _checker(schema)[0]
