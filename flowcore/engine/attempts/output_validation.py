"""Validation of a node's output against its declared schema or return type.

In: a value; a JSON Schema, or the type that a function says it returns. Out: the value, or an error
that says what is wrong with it. Not here: inputs (runs.inputs).
"""

import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from flowcore.errors import OutputError
from flowcore.graph.json_schema import value_problems
from flowcore.nodes.signature import remembered
from flowcore.run.values import plain_value
from flowcore.run.wire import COMBINED

__all__ = ["model_of", "validate_output"]

_MOST = 5


@remembered
def model_of(function: Callable[..., Any]) -> type[BaseModel] | None:
    """The pydantic model that a function says it returns; None for anything else."""
    told = function
    if not hasattr(function, "__code__") and not hasattr(function, "__wrapped__"):
        told = getattr(function, "func", None) or type(function).__call__  # a partial, an instance
    try:
        said = typing.get_type_hints(told).get("return")
    except Exception:  # noqa: BLE001  (a hint may name anything; then it says nothing)
        return None
    return said if isinstance(said, type) and issubclass(said, BaseModel) else None


def validate_output(
    value: Any,
    *,
    schema: Mapping[str, Any] | None,
    model: type[BaseModel] | None,
    node: str,
) -> Any:
    """Return what a node gave, made into what it says.

    Args:
        value: What it gave.
        schema: What its definition says.
        model: What its function says.
        node: Its id.

    Raises:
        OutputError: It is something else; names up to five places.
    """
    if model is not None and not isinstance(value, model):
        try:
            value = model.model_validate(value)
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg'].lower()}"
                for one in error.errors(include_url=False)
            ]
            raise _refused(node, problems) from None
    if schema is not None:
        # A schema is of what a value becomes: of the text of a date.
        value = plain_value(value, what=f"output of node {node!r}", deepest=COMBINED)
        if problems := value_problems(schema, value, name="output"):
            raise _refused(node, problems)
    return value


def _refused(node: str, problems: list[str]) -> OutputError:
    more = f"; and {len(problems) - _MOST} more" if len(problems) > _MOST else ""
    return OutputError(
        f"output of node {node!r} does not match its schema: {'; '.join(problems[:_MOST])}{more}"
    )
