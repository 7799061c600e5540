"""JSON Schema of values: what the inputs of a flow may be.

In: a schema (draft 2020-12), a value. Out: what is wrong with either, in sentences. Not here: the
schema of definitions (check.schema), how much work a schema may ask for (schema_bounds).

``type`` and ``enum`` are looked at here. The validator is loaded when a schema first uses more
words than these. It matches patterns in linear time, so no value holds it up; patterns with
look-around or back-references, which plans from before may have, get a bound of steps instead.
"""

import dataclasses
import importlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cache
from itertools import islice
from typing import Any

from flowcore.graph.schema_bounds import SchemaProblem, deepest_value

__all__ = ["is_quick", "schema_problem", "value_problems"]

#: Words that need no validator, and words that are for people.
_QUICK = frozenset(
    {"type", "enum", "default", "title", "description", "examples", "deprecated", "$comment"}
)
_SHOWN = 60
_MAX_PROBLEMS = 100
_MAX_CHECKERS = 256
#: Parts of a schema times those of a value for which every error is made.
_MAX_WORK = 200_000
#: Bytes of one compiled pattern.
_PATTERN_BYTES = 2**20
#: Steps of a pattern of a plan from before that is not matched in linear time.
_STEPS = 100_000
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
    try:
        deepest_value(schema)
    except SchemaProblem as problem:
        return list(problem.place), problem.reason
    library = _library()
    try:
        _compiled(schema)
    except library.ValidationError as error:
        return list(error.instance_path), _unusable(error)
    except (ValueError, UnicodeEncodeError) as error:
        return [], f"is not a JSON Schema: {error}"
    return None


def _unusable(error: Any) -> str:
    message = _cut(error.message, error.instance)
    if error.kind.name == "format" and error.instance_path and isinstance(error.instance, str):
        return (
            f"has a pattern that cannot be used: {_shown(error.instance)} is not a regular "
            "expression without look-around and back-references, and of a bounded size"
        )
    return f"is not a JSON Schema: {message}"


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
    try:
        checker, deepest = _checker(schema)
    except (SchemaProblem, ValueError) as error:  # of a plan from before, or of one's own making
        return [f"{name!r} has a schema that cannot be used: {error}"]
    if deepest is not None and (depth := _depth(value)) > deepest:
        what = f"its schema, which refers to itself, is checked down to level {deepest}"
        return [f"{name!r} is nested {depth} levels deep, and {what}"]
    try:
        found = _errors(checker, schema, value)
    except (ValueError, TypeError, UnicodeEncodeError):
        # A value that is no plain data yet, or text that is not UTF-8.
        found = _errors(checker, schema, _plain(value))
    found.sort(key=lambda error: list(map(str, error.instance_path)))
    return [
        f"{_place(name, error.instance_path)} does not fit: {_cut(error.message, error.instance)}"
        for error in found
    ]


def _errors(checker: Any, schema: Mapping[str, Any], value: Any) -> list[Any]:
    """Find what is wrong; of large values with large schemas only the first thing.

    The library makes all errors before it gives one, a thousand times as slowly as it checks.
    """
    if checker.is_valid(value):
        return []
    if _parts(schema, _MAX_WORK) * _parts(value, _MAX_WORK) <= _MAX_WORK:
        return list(islice(checker.iter_errors(value), _MAX_PROBLEMS))
    try:
        checker.validate(value)
    except _library().ValidationError as error:
        return [error]
    return []


def _parts(value: Any, most: int) -> int:
    """Count the values in a value, as far as it matters."""
    count, waiting = 0, [value]
    while waiting and count <= most:
        one = waiting.pop()
        count += 1
        if isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
    return count


def _place(name: str, path: Any) -> str:
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return repr(f"{name}{steps}")


def _cut(message: str, instance: Any) -> str:
    """Shorten a message that shows the whole of a large value."""
    if len(message) <= 2 * _SHOWN:
        return message
    shown = json.dumps(instance, ensure_ascii=False, separators=(",", ":"))
    if not message.startswith(shown):
        return message[: 4 * _SHOWN] + "…"
    return message[:_SHOWN] + "…" + message[len(shown) :][: 4 * _SHOWN]


def _depth(value: Any) -> int:
    """Levels of maps and lists, counted without recursion."""
    depth, level = 0, [value]
    while level := [
        inner
        for outer in level
        if isinstance(outer, Mapping | list | tuple)
        for inner in (outer.values() if isinstance(outer, Mapping) else outer)
    ]:
        depth += 1
    return depth


def _plain(value: Any) -> Any:
    """The value as the validator knows values; for what is checked, and never for what is kept."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return text.encode("utf-8", "replace").decode("utf-8")


# ── The library ─────────────────────────────────────────────────────────────────────────────────


def _checker(schema: Mapping[str, Any]) -> tuple[Any, int | None]:
    """Return the validator of a schema, and to which depth of values it is used; kept for reuse.

    The schema is kept with it, so that no other one gets the same identity meanwhile.
    """
    kept = _checkers.get(id(schema))
    if kept is not None and kept[0] is schema:
        return kept[1], kept[2]
    deepest = deepest_value(schema)
    library = _library()
    try:
        checker = _compiled(schema)
    except library.ValidationError as error:
        if error.kind.name != "format":
            raise ValueError(error.message) from None
        checker = _compiled(schema, bounded=True)
    _checkers[id(schema)] = schema, checker, deepest
    while len(_checkers) > _MAX_CHECKERS:
        _checkers.popitem(last=False)
    return checker, deepest


_checkers: OrderedDict[int, tuple[Mapping[str, Any], Any, int | None]] = OrderedDict()


def _compiled(schema: Mapping[str, Any], *, bounded: bool = False) -> Any:
    """Compile a schema; nothing is ever fetched for it."""
    library = _library()
    size = {"size_limit": _PATTERN_BYTES, "dfa_size_limit": _PATTERN_BYTES}
    patterns = (
        library.FancyRegexOptions(backtrack_limit=_STEPS, **size)
        if bounded
        else library.RegexOptions(**size)
    )
    return library.Draft202012Validator(
        schema, validate_formats=True, offline=True, pattern_options=patterns
    )


@cache
def _library() -> Any:
    return importlib.import_module("jsonschema_rs")
