"""Validation of a run's input against the inputs that its flow declares.

In: a plan's declared inputs, the run's input. Out: the input with defaults filled in, or every
problem at once. Not here: the declarations themselves (check), one value (graph.json_schema).
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from flowcore.errors import UsageError
from flowcore.graph.json_schema import value_problems

__all__ = ["accept_input", "select_declared"]


def accept_input(declared: Mapping[str, Any], given: Any) -> Any:
    """Fill in defaults and refuse what does not fit.

    Args:
        declared: JSON Schema of each input, by name.
        given: The run's input; anything goes when nothing is declared.

    Returns:
        The input for the run.

    Raises:
        UsageError: Inputs are missing, of the wrong kind, or not declared; names all of them.
    """
    if not declared:
        return given
    values = {} if given is None else given
    if not isinstance(values, Mapping):
        names = ", ".join(map(repr, declared))
        msg = f"this flow takes its input by name ({names}), got {type(given).__name__}"
        raise UsageError(msg)
    schemas = {name: one if isinstance(one, Mapping) else {} for name, one in declared.items()}
    defaults = {name: one["default"] for name, one in schemas.items() if "default" in one}
    filled = {**defaults, **values}
    problems = [problem for name, one in schemas.items() for problem in _look(name, one, filled)]
    problems += _undeclared(declared, values)
    if problems:
        raise UsageError("bad input: " + "; ".join(problems))
    return filled


def select_declared(declared: Mapping[str, Any], value: Any) -> Any:
    """Take from what flows into a sub-flow what that declares; the rest was not meant for it."""
    if not declared or not isinstance(value, Mapping):
        return value
    return {name: value[name] for name in declared if name in value}


def _look(name: str, schema: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    if name not in given:
        return [f"{name!r} is missing (it has no default)"]
    return value_problems(schema, given[name], name=name)


def _undeclared(declared: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    for name in given:
        if name not in declared:
            near = get_close_matches(str(name), declared, n=1)
            known = ", ".join(map(repr, declared))
            hint = f"did you mean {near[0]!r}?" if near else f"there is {known}"
            yield f"{name!r} is not an input of this flow ({hint})"
