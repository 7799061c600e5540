"""Values as JSON text: one spelling for every door (command line, server-sent events, templates).

In: plain values, and dataclasses of them. Out: JSON. Not here: values on the wire (run.wire), JSON
that is read.

JSON has no bytes, no NaN and no infinity: bytes become base64, numbers that are not finite null.
Half of a surrogate pair is escaped, so that every text can be sent as UTF-8. What is sent to others
in a user's name is not changed: there, what JSON has no words for is refused (``strict_json``).
"""

import base64
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from flowcore.errors import UnsupportedValueError

__all__ = ["json_text", "json_value", "strict_json"]


#: Characters of a key in an error.
_SHOWN = 60


def json_text(value: Any, *, indent: int | None = None, compact: bool = False) -> str:
    """Write a value as JSON.

    Args:
        value: Plain data, dataclasses, sets; anything else becomes its text.
        indent: Spaces of an inner level; None: one line.
        compact: No spaces between the parts.
    """
    separators = (",", ":") if compact else None
    try:
        text = json.dumps(
            value,
            default=_other,
            ensure_ascii=False,
            allow_nan=False,
            indent=indent,
            separators=separators,
        )
    except (TypeError, ValueError):  # a number that is not finite, a key that is not text
        text = json.dumps(
            json_value(value), ensure_ascii=False, indent=indent, separators=separators
        )
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(json_value(value), indent=indent, separators=separators)
    return text


def strict_json(value: Any, *, what: str) -> str:
    """Write a plain value as JSON that reads back equal.

    Args:
        value: Plain data.
        what: How an error names it, such as ``'json' of node 'send'``.

    Raises:
        UnsupportedValueError: Something in it has no words in JSON; says where.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except (TypeError, ValueError):
        place, problem = next(_unfit(value, ""), ("", "is not JSON"))
        raise UnsupportedValueError(f"{what}{place}: {problem}") from None
    return text


def _unfit(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield values that JSON does not have, by their places, with a way out."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _unfit(item, f"{place}[{str(key)[:_SHOWN]!r}]")
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            yield from _unfit(item, f"{place}[{at}]")
    elif isinstance(value, bytes | bytearray):
        yield place, "is bytes, which JSON cannot represent; give text, such as base64"
    elif isinstance(value, float) and not math.isfinite(value):
        yield place, f"is {value}, which JSON cannot represent; give null or a text"
    elif value is not None and not isinstance(value, str | int | float):
        yield place, f"is a {type(value).__name__}, which JSON cannot represent"


def json_value(value: Any) -> Any:
    """Make a value of what JSON has: None, bools, finite numbers, texts, lists and maps."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else _key(key): json_value(value[key]) for key in value}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    if value is None or isinstance(value, str | int):
        return value
    other = _other(value)
    return other if isinstance(other, str) else json_value(other)


def _key(key: Any) -> str:
    return json.dumps(key) if isinstance(key, bool | None) else str(json_value(key))


def _other(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)  # a set's own order is one of chance
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    return str(value)
