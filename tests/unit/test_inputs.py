"""A run's input against what its flow declares."""

from typing import Any

import pytest

from flowcore.engine.inputs import accept_input
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


def test_defaults_are_filled_in_and_more_may_be_given() -> None:
    assert accept_input(DECLARED, {"url": "u", "extra": 1}) == {
        "url": "u",
        "depth": 1,
        "mode": "fast",
        "maybe": None,
        "extra": 1,
    }


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
