"""Say why an expression failed: which part of it, of what types, and where that stands.

In: the parts of an expression, a function that evaluates one of them. Out: a reason and a place.
Not here: how parts are evaluated (cel). Runs after a failure only, so it may take its time: a part
is the culprit if it fails and nothing it is made of does.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from flowcore.errors import ExpressionError
from flowcore.expr.paths import select
from flowcore.expr.tree import Part

__all__ = ["Evaluate", "Reason", "explain", "misfit", "reason_of"]

#: Evaluates a part, with variables of loops around it.
Evaluate = Callable[[Part, Mapping[str, object]], object]

_LOGICAL = frozenset({"&&", "||", "?"})
#: What the library says when an operator or function does not take what it is given.
_NOT_OF_TYPES = ("no such overload", "unsupported operation", "undefined variable")
_CONVERTED = frozenset({"int", "double", "string"})
#: Members of a list that a loop is tried on.
_TRIED = 10_000
_TYPES: Mapping[type, str] = {
    bool: "bool",
    int: "int",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    tuple: "list",
    dict: "map",
    datetime: "timestamp",
    timedelta: "duration",
    type(None): "null",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why, and where."""

    words: str
    at: int
    """Characters from the start of the text."""


def _type_name(value: object) -> str:
    """CEL's name for the type of a value."""
    return _TYPES.get(type(value), type(value).__name__)


def explain(tree: Part, evaluate: Evaluate) -> Reason | None:
    """Find the smallest part that fails; None if nothing does."""
    return _find(tree, evaluate, {})


def _find(part: Part, evaluate: Evaluate, bound: Mapping[str, object]) -> Reason | None:
    try:
        evaluate(part, bound)
    except Exception as error:  # noqa: BLE001  (whatever the library raises)
        failure = error
    else:
        return None
    inside = (_find(one, evaluate, around) for one, around in _inside(part, evaluate, bound))
    found = next((reason for reason in inside if reason is not None), None)
    if found is not None:
        return found
    values = [] if part.kind == "loop" else [evaluate(one, bound) for one in _read(part)]
    return Reason(words=_words(part, values, failure), at=part.at)


def _read(part: Part) -> Sequence[Part]:
    """The parts whose values a part needs to begin with."""
    if part.kind == "call" and part.word == "has":
        return part.parts[0].parts  # it asks for a key instead of reading it
    return part.parts[:1] if part.kind in {"loop", "choice"} else part.parts


def _inside(
    part: Part, evaluate: Evaluate, bound: Mapping[str, object]
) -> Iterator[tuple[Part, Mapping[str, object]]]:
    """The parts that were evaluated for this one, each with the variables it knew."""
    for one in _read(part):
        yield one, bound
    if part.kind == "choice":
        yield part.parts[1 if evaluate(part.parts[0], bound) is True else 2], bound
    elif part.kind == "loop":
        members = evaluate(part.parts[0], bound)
        if isinstance(members, Sequence | Mapping) and not isinstance(members, str | bytes):
            for member in islice(members, _TRIED):
                yield from ((one, {**bound, part.variable: member}) for one in part.parts[1:])


def _words(part: Part, values: Sequence[object], failure: Exception) -> str:
    types = [_type_name(value) for value in values]
    if part.kind in {"field", "index"}:
        try:
            select(values[0], part.word if part.kind == "field" else values[1])
        except ExpressionError as error:
            return str(error)
    said = reason_of(failure)
    if said.startswith(_NOT_OF_TYPES):
        return misfit(part, types)
    return f"{part.word}(): {said}" if part.kind == "call" else said


def misfit(part: Part, types: Sequence[str | None]) -> str:
    """Say that an operator or function does not take what it is given.

    Args:
        part: The operator or function, with its operands.
        types: Their types; None for one that is not known.
    """
    known = [one for one in types if one is not None]
    if part.kind == "name":
        words = f"'{part.word}' is not available here"
    elif part.kind in {"field", "index"}:
        key = f"'{part.word}'" if part.kind == "field" else "an item"
        words = f"cannot take {key} of {'text' if known[0] == 'string' else known[0]}"
    elif part.kind == "call":
        given = " and ".join(one or "something" for one in types)
        words = f"there is no {part.word}() of {given or 'nothing'}"
    elif part.word == "in":
        words = f"'in' looks into a list or a map, not into {known[-1]}"
    elif part.word in _LOGICAL:
        wrong = next(one for one in known if one != "bool")
        words = f"'{part.word}' is of true and false, not of {wrong}"
    else:
        words = f"there is no '{part.word}' of {' and '.join(known)}"
        if len(_CONVERTED.intersection(known)) > 1:
            words += "; int(…), double(…) and string(…) convert"
    return words


def reason_of(failure: Exception) -> str:
    """What an error of the library says, in a few words."""
    if isinstance(failure, KeyError):
        return f"there is no key {failure}"
    said = str(failure).split(". ")[0].split("\n")[0]
    # Errors of functions: "Function 'int' error: …", and of ours a TypeError in that.
    said = said.rpartition("TypeError: ")[2].rpartition("' error: ")[2].rstrip(":")
    return said[:1].lower() + said[1:]
