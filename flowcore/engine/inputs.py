"""What a run is given, checked against what its flow declares.

In: a plan's declared inputs, the run's input. Out: the input with defaults filled in, or every
problem at once. Not here: the declarations themselves (check).

``default``, ``type`` and ``enum`` are looked at here, more of JSON Schema by a validator; an input
without a default has to be given. Inputs that nobody declared pass.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flowcore.errors import UsageError
from flowcore.graph.value_schema import is_quick, value_problems

__all__ = ["accept_input"]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return value.is_integer() if isinstance(value, float) else _is_number(value)


_KINDS: Mapping[str, Callable[[object], bool]] = {
    "string": lambda value: isinstance(value, str | bytes),
    "number": _is_number,
    "integer": _is_whole,
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list | tuple),
    # Models and dataclasses become maps on the wire.
    "object": lambda value: not isinstance(value, str | bytes | int | float | list | tuple | None),
    "null": lambda value: value is None,
}


def accept_input(declared: Mapping[str, Any], given: Any) -> Any:
    """Fill in defaults and refuse what does not fit.

    Args:
        declared: JSON Schema of each input, by name.
        given: The run's input; anything goes when nothing is declared.

    Returns:
        The input for the run.

    Raises:
        UsageError: Inputs are missing or of the wrong kind; names all of them.
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
    if problems:
        raise UsageError("bad input: " + "; ".join(problems))
    return filled


def _look(name: str, schema: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    problem = _problem(name, schema, given)
    if problem is not None:
        return [problem]
    return [] if is_quick(schema) else value_problems(schema, given[name], name=name)


def _problem(name: str, schema: Mapping[str, Any], given: Mapping[str, Any]) -> str | None:
    if name not in given:
        return f"{name!r} is missing (it has no default)"
    value = given[name]
    kinds = schema.get("type", ())
    wanted = [kinds] if isinstance(kinds, str) else list(kinds)
    if wanted and not any(_KINDS[kind](value) for kind in wanted if kind in _KINDS):
        return f"{name!r} should be {' or '.join(wanted)}, got {str(value)[:40]!r}"
    choices = schema.get("enum")
    if isinstance(choices, list) and value not in choices:
        return f"{name!r} should be one of {', '.join(map(repr, choices))}, got {str(value)[:40]!r}"
    return None
