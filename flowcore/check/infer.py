"""Infer the types of expressions from what is known of the values that they read.

In: the parts of an expression, a function that knows JSON Schemas by name. Out: its type, and parts
that cannot be worked out whatever the values are. Not here: where expressions stand
(rules.expressions), values (expr.values).

What is not known passes: only a mistake that is certain is one. ``integer`` and ``number`` may both
be either of CEL's ``int`` and ``double``, so numbers are not told apart.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowcore.expr.misfit import misfit
from flowcore.expr.scan import FUNCTIONS
from flowcore.expr.tree import Part

__all__ = ["Infer", "SchemaOf"]

#: The JSON Schema of a name, as far as it is known.
SchemaOf = Callable[[str], Mapping[str, Any]]

_OF_JSON: Mapping[str, str] = {
    "string": "string",
    "integer": "int",
    "number": "double",
    "boolean": "bool",
    "array": "list",
    "object": "map",
    "null": "null",
}
_NUMBERS = frozenset({"int", "double", "uint"})
_JOINED = frozenset({"string", "bytes", "list"})
#: What no operator but those that ask for equality takes.
_NEVER = frozenset({"map", "null", "type"})
_COMPARED = frozenset({"string", "bytes", "bool", "timestamp", "duration"})
_TEXT_METHODS = frozenset({"startsWith", "endsWith", "contains", "matches"})
_GIVES: Mapping[str, str] = {
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in", "&&", "||", "!"), "bool"),
    **dict.fromkeys(("has", "all", "exists", "existsOne", "exists_one", *_TEXT_METHODS), "bool"),
    **dict.fromkeys(("map", "filter"), "list"),
    **{name: name for name in ("string", "int", "uint", "double", "bytes")},
    **{name: name for name in ("timestamp", "duration", "type")},
    **{name: "int" for name in FUNCTIONS if name.startswith("get")},
    "bool": "bool",
    "size": "int",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Inferred knowledge of a value."""

    type: str | None = None
    """CEL's name for its type."""
    schema: Mapping[str, Any] = field(default_factory=dict)


_ANYTHING = Known()


class Infer:
    """Infers the type of one expression; ``problems`` are what it met on the way."""

    def __init__(self, schema_of: SchemaOf) -> None:
        """See ``SchemaOf``."""
        self._schema_of = schema_of
        self.problems: list[tuple[str, int]] = []
        """What is wrong, and at which character."""

    def type_of(self, tree: Part) -> str | None:
        """Infer the type of an expression; None if nothing is known of it."""
        return self._known(tree, frozenset()).type

    def _known(self, part: Part, bound: frozenset[str]) -> Known:
        if part.kind == "name":
            named = part.word if part.word not in bound and part.word != "nodes" else None
            return _of_schema(self._schema_of(named)) if named else _ANYTHING
        if part.kind in {"field", "index"} and _is_nodes(part.parts[0], bound):
            return _of_schema(self._schema_of(_key(part)))
        if part.kind == "call" and part.word == "has":
            return Known(type="bool")
        of = list(self._of(part, bound))
        types = [one.type for one in of]
        if (words := misfit(part, types) if _is_wrong(part, types) else None) is not None:
            self.problems.append((words, part.at))
            return _ANYTHING
        return _result(part, of)

    def _of(self, part: Part, bound: frozenset[str]) -> Iterator[Known]:
        for number, one in enumerate(part.parts):
            inner = bound | {part.variable} if part.kind == "loop" and number else bound
            yield self._known(one, inner)


def _of_schema(schema: Mapping[str, Any]) -> Known:
    kind = schema.get("type")
    return Known(type=_OF_JSON.get(kind) if isinstance(kind, str) else None, schema=schema)


def _is_nodes(part: Part, bound: frozenset[str]) -> bool:
    return part.kind == "name" and part.word == "nodes" and part.word not in bound


def _key(part: Part) -> str:
    """The node that ``nodes.fetch`` or ``nodes["fetch"]`` is."""
    return part.word if part.kind == "field" else part.parts[1].word[1:-1]


def _result(part: Part, of: list[Known]) -> Known:
    if part.kind == "value":
        return Known(type=_of_literal(part.word))
    if part.kind in {"list", "map"}:
        return Known(type=part.kind)
    if part.kind == "field":
        return _of_schema(_below(of[0].schema, part.word))
    if part.kind == "choice":
        return of[1] if of[1].type == of[2].type else _ANYTHING
    if part.kind in {"infix", "prefix"} and part.word in {*"+-*/%"}:
        return _of_arithmetic({one.type for one in of})
    return Known(type=_GIVES.get(part.word)) if part.kind != "index" else _ANYTHING


def _of_arithmetic(types: set[str | None]) -> Known:
    same = next(iter(types)) if len(types) == 1 else None
    if types <= _NUMBERS:
        # Numbers are told apart at run only; that it is one is known.
        return Known(type=same or "double")
    return Known(type=same) if same in _JOINED else _ANYTHING


def _of_literal(word: str) -> str:
    if word[-1] in "\"'":
        return "bytes" if "b" in word[: -len(word.lstrip("rRbB"))].lower() else "string"
    if word in {"true", "false"}:
        return "bool"
    if word == "null":
        return "null"
    if word[-1] in "uU" and not word.lower().startswith("0x"):
        return "uint"
    return "int" if word.isdecimal() or word.lower().startswith("0x") else "double"


def _below(schema: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    properties = schema.get("properties")
    below = properties.get(key) if isinstance(properties, Mapping) else None
    return below if isinstance(below, Mapping) else {}


def _is_wrong(part: Part, types: list[str | None]) -> bool:
    """Say whether a part cannot be worked out: certain only where types are known."""
    known = [one for one in types if one is not None]
    if part.kind == "choice":
        return types[0] not in {None, "bool"}
    if part.kind == "field":
        return types[0] not in {None, "map"}
    if part.kind == "index":
        return types[0] not in {None, "map", "list"}
    if part.kind == "call":
        return _is_wrong_call(part.word, types)
    if part.kind == "prefix":
        return bool(known) and not _fits_prefix(part.word, known[0])
    return part.kind == "infix" and _is_wrong_infix(part.word, types, known)


def _is_wrong_call(word: str, types: list[str | None]) -> bool:
    if word == "size":
        return len(types) == 1 and types[0] not in {None, "string", "bytes", "list", "map"}
    return word in _TEXT_METHODS and any(one not in {None, "string"} for one in types)


def _fits_prefix(sign: str, of: str) -> bool:
    return of == "bool" if sign == "!" else of in _NUMBERS or of == "duration"


def _is_wrong_infix(sign: str, types: list[str | None], known: list[str]) -> bool:
    if sign in {"&&", "||"}:
        return any(one != "bool" for one in known)
    if sign == "in":
        return types[1] not in {None, "map", "list"}
    if sign in {"==", "!="}:
        return False
    if not _NEVER.isdisjoint(known):
        return True
    return len(known) == len(types) and not _go_together(sign, *known)


def _go_together(sign: str, left: str, right: str) -> bool:
    if left in _NUMBERS and right in _NUMBERS:
        return True
    if {left, right} <= {"timestamp", "duration"}:
        return sign not in {*"*/%"}
    if sign in {"<", "<=", ">", ">="}:
        return left == right and left in _COMPARED
    return sign == "+" and left == right and left in {"string", "bytes", "list"}
