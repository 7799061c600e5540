"""The kinds of values that arguments of node types have.

In: a value as it was written, or as an expression gave it. Out: the value as the type uses it, or a
WrongValueError. Not here: which argument has which kind (the models).
"""

import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from flowcore.graph.diagnostic import describe, quote
from flowcore.nodes.arguments.model import UNKNOWN, Unfinished, WrongValueError, near
from flowcore.nodes.credentials import mask_text
from flowcore.types import LONGEST, parse_duration

__all__ = [
    "Kind", "anything", "choice", "duration", "list_of", "mapping_of", "message_list",
    "moment", "number", "shown",
    "text", "truth", "url", "whole", "words",
]  # fmt: skip

_SCHEMES = ("http://", "https://")
_SPAN = re.compile(r"(\d+(\.\d+)?(ms|s|m|h|d))+")
_NUMBERS = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: what reads one, and its JSON Schema. Annotates a field of a model."""

    of: Callable[[Any], Any]
    schema: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, value: Any) -> Any:
        """Read a value; one that is not known passes."""
        return value if value is UNKNOWN else self.of(value)

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self)

    def __get_pydantic_json_schema__(
        self, _: CoreSchema, __: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return dict(self.schema)


def shown(value: Any) -> str:
    """Say what a value is, without the credentials that may be in it."""
    return describe(mask_text(value) if isinstance(value, str) else value)


def _wrong(expected: str, value: Any, hint: str | None = None, code: str = "FC205") -> Any:
    what = f"expected {expected}, got {shown(value)}"
    raise WrongValueError(what, code=code, suggestion=hint)


def anything() -> Kind:
    """Any plain value."""
    return Kind(lambda value: value)


def duration(*, least: float = 0.0) -> Kind:
    """A time span as seconds, or text such as ``90s``; more than ``least``, if that is not 0."""

    def read(value: Any) -> Any:
        if isinstance(value, Unfinished):
            return value
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            raise WrongValueError(str(error), code="FC211") from None
        if least and seconds < least:
            _wrong("more than 0 seconds", value)
        return seconds

    shown = r"^\s*((\d+(\.\d+)?(ms|s|m|h|d))+|\d+(\.\d+)?)\s*$"
    bounds: dict[str, Any] = {"minimum": least, "maximum": LONGEST}
    schema = {
        "anyOf": [{"type": "number", **bounds}, {"type": "string", "pattern": shown}],
        "description": "seconds, or text such as 30s, 500ms, 1h30m; at most 100 years",
    }
    return Kind(read, schema)


def moment() -> Kind:
    """A time: Unix seconds, or text such as ``2026-12-24T18:00:00Z``; at most 100 years ahead."""

    def read(value: Any) -> Any:
        if isinstance(value, Unfinished):
            return value
        seconds = _unix(value)
        if seconds < 0 and not isinstance(value, str):
            _wrong("Unix seconds, or a time such as 2026-12-24T18:00:00Z", value)
        if seconds > time.time() + LONGEST:
            _wrong("a time within 100 years from now", value)
        return seconds

    schema = {
        "type": ["string", "number"],
        "minimum": 0,
        "description": "Unix seconds, or text such as 2026-12-24T18:00:00Z",
    }
    return Kind(read, schema)


def _unix(value: Any) -> float:
    expected = "a time such as 2026-12-24T18:00:00Z, or Unix seconds"
    if isinstance(value, bool) or not isinstance(value, int | float | str | datetime):
        _wrong(expected, value)
    if isinstance(value, int | float):
        if isinstance(value, float) and not math.isfinite(value):
            _wrong(expected, value)
        return value if isinstance(value, float) else float(min(max(value, -1), 10**18))
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(value.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        is_span = isinstance(value, str) and _SPAN.fullmatch(value)
        hint = f"write for: {value}" if is_span else None
        return float(_wrong(expected, value, hint))


def text(what: str = "text", *, most: int = 1_000_000, pattern: str | None = None) -> Kind:
    """A text that is not empty; ``what`` says in a message what it is."""
    form = re.compile(pattern) if pattern else None

    def read(value: Any) -> Any:
        if isinstance(value, Unfinished):
            return value
        if not isinstance(value, str):
            is_number = isinstance(value, int | float)
            hint = f'put it in quotes: "{str(value).lower()}"' if is_number else None
            _wrong(what, value, hint)
        if not value.strip():
            _wrong(what, value)
        if len(value) > most:
            _wrong(f"{what}, of at most {most:,} characters", value)
        if form is not None and not form.fullmatch(value):
            _wrong(what, value)
        return value

    schema: dict[str, Any] = {"type": "string", "minLength": 1}
    return Kind(read, {**schema, "pattern": f"^({pattern})$"} if pattern else schema)


def words(what: str) -> Kind:
    """A text that is not empty, or a number, which becomes one."""
    plain = text(what)

    def read(value: Any) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return str(value) if is_number else plain(value)

    return Kind(read, {"type": ["string", "number"]})


def url() -> Kind:
    """A URL of the web."""

    def read(value: Any) -> Any:
        expected = "a URL that begins with http:// or https://"
        if isinstance(value, Unfinished):
            start = value.partition("${{")[0].lower()
            if not any(one.startswith(start) or start.startswith(one) for one in _SCHEMES):
                _wrong(expected, str(value))
            return value
        if not isinstance(value, str) or not value.lower().startswith(_SCHEMES):
            is_bare = isinstance(value, str) and "." in value and "://" not in value
            _wrong(expected, value, f"write https://{value}" if is_bare else None)
        try:
            parts = urlsplit(value)
            is_whole = bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_whole = False
        if not is_whole or re.search(r"[\x00-\x20\x7f]", value):
            _wrong("a whole URL, such as https://example.com/path", value)
        return value

    return Kind(read, {"type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"})


def whole(least: int, most: int) -> Kind:
    """A whole number."""

    def read(value: Any) -> Any:
        is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not is_whole:
            _wrong("a whole number", value, _number_hint(value))
        if not least <= value <= most:
            bound = f"at least {least:,}" if value < least else f"at most {most:,}"
            raise WrongValueError(f"must be {bound}, got {shown(value)}")
        return int(value)

    return Kind(read, {"type": "integer", "minimum": least, "maximum": most})


def number(least: float, most: float) -> Kind:
    """A number."""

    def read(value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            _wrong("a number", value, _number_hint(value))
        if not least <= value <= most:  # NaN, too
            bound = f"at least {least:g}" if value < least else f"at most {most:,.12g}"
            raise WrongValueError(f"must be {bound}, got {shown(value)}")
        return float(value)

    return Kind(read, {"type": "number", "minimum": least, "maximum": most})


def _number_hint(value: Any) -> str | None:
    return f"write {value}" if isinstance(value, str) and _NUMBERS.fullmatch(value) else None


def truth() -> Kind:
    """True or false, and nothing that is like it."""

    def read(value: Any) -> Any:
        if isinstance(value, bool):
            return value
        meant = str(value).lower() if isinstance(value, str | int) else ""
        words = {"yes": "true", "on": "true", "1": "true", "true": "true"}
        words |= {"no": "false", "off": "false", "0": "false", "false": "false"}
        return _wrong("true or false", value, f"write {words[meant]}" if meant in words else None)

    return Kind(read, {"type": "boolean"})


def choice(*words: str) -> Kind:
    """One of some words."""

    def read(value: Any) -> Any:
        if isinstance(value, Unfinished) or value in words:
            return value
        what = f"must be one of {', '.join(words)}, got {shown(value)}"
        hint = near(value, words) if isinstance(value, str) else None
        raise WrongValueError(what, code="FC222", suggestion=hint)

    return Kind(read, {"type": "string", "enum": list(words)})


def list_of(kind: Kind, what: str, *, least: int = 0) -> Kind:
    """A list whose members are of one kind."""

    def read(value: Any) -> Any:
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            is_one = isinstance(value, int | str) and not isinstance(value, bool | Unfinished)
            _wrong(f"a list of {what}", value, f"write [{value!s}]" if is_one else None)
        if len(value) < least:
            _wrong(f"{what}, at least {least}", value)
        return [_below(kind, at, one) for at, one in enumerate(value)]

    bound = {"minItems": least} if least else {}
    return Kind(read, {"type": "array", "items": dict(kind.schema), **bound})


def message_list(*, least: int = 0) -> Kind:
    """Messages of a conversation: maps with ``role``, and ``content`` or what stands for it."""
    role = text("a role, such as user")
    what = "a message with 'role' and 'content'"

    def read(value: Any) -> Any:
        if not isinstance(value, Mapping):
            is_text = isinstance(value, str) and not isinstance(value, Unfinished)
            _wrong(what, value, "write {role: user, content: …}" if is_text else None)
        for key in ("role", "content"):
            if key not in value and not (key == "content" and "tool_calls" in value):
                raise WrongValueError(f"{quote(key)} is missing: expected {what}", code="FC204")
        _below(role, "role", value["role"])
        return value

    schema = {"type": "object", "required": ["role"]}
    return list_of(Kind(read, schema), "messages", least=least)


def mapping_of(kind: Kind, what: str, *, key: Kind | None = None, least: int = 0) -> Kind:
    """A mapping by text whose values are of one kind."""

    def read(value: Any) -> Any:
        if not isinstance(value, Mapping):
            _wrong(f"a mapping of {what}", value)
        if len(value) < least:
            _wrong(f"{what}, at least {least}", value)
        for name in value:
            _check_key(name, key)
        return {name: _below(kind, name, one) for name, one in value.items()}

    bound = {"minProperties": least} if least else {}
    return Kind(
        read, {"type": "object", "additionalProperties": dict(kind.schema) or True, **bound}
    )


def _check_key(name: Any, kind: Kind | None) -> None:
    if not isinstance(name, str):
        what = f"a key is text, got {shown(name)}"
        raise WrongValueError(what)
    if kind is not None:
        try:
            kind(name)
        except WrongValueError as error:
            what = f"{quote(name)}: {error.what}"
            raise WrongValueError(what, path=(name,), at_key=True) from None


def _below(kind: Kind, key: str | int, value: Any) -> Any:
    try:
        return kind(value)
    except WrongValueError as error:
        raise error.below(key) from None
