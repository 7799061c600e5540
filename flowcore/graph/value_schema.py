"""JSON Schema of values: what the inputs of a flow may be.

In: a schema (draft 2020-12), a value. Out: what is wrong with either, in sentences. Not here: the
schema of definitions (check.schema).

``type`` and ``enum`` are looked at here. The validator is loaded when a schema first uses more
words than these: it takes as long to import as the rest of a command.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

__all__ = ["is_quick", "schema_problem", "value_problems"]

#: Words that need no validator, and words that are for people.
_QUICK = frozenset(
    {"type", "enum", "default", "title", "description", "examples", "deprecated", "$comment"}
)
_SHOWN = 60
_CUT = 40


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


def is_quick(schema: Mapping[str, Any]) -> bool:
    """Say whether a schema has no other words than the quick ones."""
    return schema.keys() <= _QUICK


def schema_problem(schema: Mapping[str, Any]) -> tuple[list[str | int], str] | None:
    """Find what is wrong with a schema: where in it, and what."""
    for path, reference in _references(schema):
        if not reference.startswith("#"):
            return path, f"'$ref' stays inside of the schema ('#/$defs/…'), got {reference!r}"
    validators = importlib.import_module("jsonschema.exceptions")
    try:
        _validator().check_schema(schema)
    except validators.SchemaError as error:
        return list(error.absolute_path), f"is no JSON Schema: {error.message}"
    return None


def value_problems(schema: Mapping[str, Any], value: Any, *, name: str) -> list[str]:
    """Find everything that is wrong with a value; ``name`` is what it is called."""
    if (problem := _quick_problem(schema, value, name)) is not None:
        return [problem]
    return [] if is_quick(schema) else _more_problems(schema, value, name)


def _quick_problem(schema: Mapping[str, Any], value: Any, name: str) -> str | None:
    kinds = schema.get("type", ())
    wanted = [kinds] if isinstance(kinds, str) else list(kinds)
    if wanted and not any(_KINDS[kind](value) for kind in wanted if kind in _KINDS):
        return f"{name!r} should be {' or '.join(wanted)}, got {_shown(value)}"
    choices = schema.get("enum")
    if isinstance(choices, list) and value not in choices:
        shown = ", ".join(map(_shown, choices))
        return f"{name!r} should be one of {shown}, got {_shown(value)}"
    return None


def _shown(value: object) -> str:
    """Show a value so that a text and a number that look alike can be told apart."""
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, int | float):
        return f"the number {value}"
    return repr(value if isinstance(value, str) and len(value) <= _CUT else str(value)[:_CUT])


def _more_problems(schema: Mapping[str, Any], value: Any, name: str) -> list[str]:
    referencing = importlib.import_module("referencing")
    kind = _validator()
    # A registry of its own: nothing is ever fetched.
    checker = kind(schema, registry=referencing.Registry(), format_checker=kind.FORMAT_CHECKER)
    try:
        found = sorted(checker.iter_errors(value), key=lambda error: list(map(str, error.path)))
    except referencing.exceptions.Unresolvable as error:
        return [f"{name!r} has a schema that refers to nothing: {error}"]
    return [f"{_place(name, error.absolute_path)} {_words(error)}" for error in found]


def _references(
    part: Any, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[list[str | int], str]]:
    if isinstance(part, Mapping):
        for key, value in part.items():
            if key in {"$ref", "$dynamicRef"} and isinstance(value, str):
                yield [*path, key], value
            elif key not in {"default", "enum", "const", "examples"}:
                yield from _references(value, (*path, key))
    elif isinstance(part, list):
        for at, value in enumerate(part):
            yield from _references(value, (*path, at))


def _place(name: str, path: Any) -> str:
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return repr(f"{name}{steps}")


def _words(error: Any) -> str:
    """What is wrong, without the whole of a large value."""
    shown = repr(error.instance)
    message: str = error.message
    if len(shown) > _SHOWN and message.startswith(shown):
        message = shown[:_SHOWN] + "…" + message.removeprefix(shown)
    return f"does not fit: {message}"


@cache
def _validator() -> Any:
    """The validator of the current draft, which knows the values that inputs may have."""
    module = importlib.import_module("jsonschema")
    plain = module.Draft202012Validator
    more = {
        "array": lambda _, value: isinstance(value, list | tuple),
        # Bytes are text on the wire; models and dataclasses become maps there.
        "string": lambda _, value: isinstance(value, str | bytes),
        "object": lambda _, value: isinstance(value, Mapping),
    }
    return module.validators.extend(plain, type_checker=plain.TYPE_CHECKER.redefine_many(more))
