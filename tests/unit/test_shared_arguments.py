"""Arguments that are read once for all nodes that have the same ones."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcore.errors import UsageError
from flowcore.nodes.arguments.model import Arguments, misfits
from flowcore.nodes.arguments.registry import ARGUMENTS

SHARED = sorted({model for model in ARGUMENTS.values() if model.is_shared}, key=str)

_LEAVES = (
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(-2, 2) | st.sampled_from(["1s", "x"])
)
_VALUES = _LEAVES | st.dictionaries(st.sampled_from("ab"), _LEAVES, max_size=2)


def _read(model: type[Arguments], arguments: dict[str, Any]) -> Any:
    try:
        return model.read(arguments, uses="x", node="n").given()
    except UsageError as error:
        return str(error)


@given(data=st.data())
@pytest.mark.parametrize("model", SHARED, ids=lambda model: model.__name__)
def test_what_was_read_before_changes_no_verdict(model: type[Arguments], data: Any) -> None:
    """Not even of values that are equal to Python, such as 1, 1.0 and true."""
    names = st.sampled_from(model.names())
    arguments = data.draw(st.dictionaries(names, _VALUES, max_size=3))
    first, again = _read(model, arguments), _read(model, dict(arguments))
    assert repr(first) == repr(again)
    assert isinstance(first, str) == bool(misfits(model, arguments))


@pytest.mark.parametrize("value", [True, 1, 1.0])
def test_values_that_are_equal_to_python_are_told_apart(value: Any) -> None:
    sleep = ARGUMENTS["sleep"]
    assert _read(sleep, {"seconds": 1.0}) == {"seconds": 1.0}
    found = _read(sleep, {"seconds": value})
    assert isinstance(found, str) == isinstance(value, bool)


def test_only_types_whose_arguments_nobody_can_change_share_them() -> None:
    assert [model.__name__ for model in SHARED] == [
        "ConditionArguments",
        "ApprovalArguments",
        "SleepArguments",
        "WaitArguments",
    ]
