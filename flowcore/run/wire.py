"""Values on the wire: msgpack of plain types, both ways.

In: JSON values, plus bytes, pydantic models and dataclasses. Out: bytes, or a clear error that
says where the value is that cannot travel. Not here: pickle, type tags, revival of any kind.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
from pydantic import BaseModel

from flowcore.errors import UnsupportedValueError

__all__ = ["pack", "unpack"]

_PLAIN = (str, bytes, int, float, bool, type(None))


def pack(value: Any, *, what: str = "value") -> bytes:
    """Encode a value.

    Args:
        value: Plain data: None, bool, int (64 bit), float, str, bytes, lists, tuples and maps with
            text keys; pydantic models and dataclasses travel as maps.
        what: How an error names the value, such as ``output of node 'fetch'``.

    Raises:
        UnsupportedValueError: Something in the value cannot travel; names where it is.
    """
    try:
        packed: bytes = msgpack.packb(value, default=_plain)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        where = _culprit(value, what)
        msg = f"{where or f'{what}: {error}'}; return plain data (numbers, text, lists, maps)"
        raise UnsupportedValueError(msg) from error
    return packed


def unpack(packed: bytes) -> Any:
    """Decode what ``pack`` wrote; maps may have keys of any plain type."""
    return msgpack.unpackb(packed, strict_map_key=False)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    msg = f"{type(value).__qualname__} is not plain data"
    raise TypeError(msg)


def _culprit(value: Any, path: str, depth: int = 0) -> str | None:
    """Say where the first value is that cannot travel."""
    if depth > 200:  # noqa: PLR2004  (msgpack stops at 512; people's data never gets here)
        return f"{path[:60]}… is nested too deeply (or holds itself)"
    if isinstance(value, Mapping):
        children = [(f"{path}[{key!r}]", child) for key, child in value.items()]
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        children = [(f"{path}[{index}]", child) for index, child in enumerate(value)]
    else:
        return _blame(value, path)
    for where, child in children:
        if found := _culprit(child, where, depth + 1):
            return found
    return None


def _blame(value: Any, path: str) -> str | None:
    try:
        msgpack.packb(value, default=_plain)
    except OverflowError:
        return f"{path} is {value}, which does not fit 64 bits"
    except (TypeError, ValueError):
        return f"{path} is a {type(value).__qualname__}, which cannot be stored"
    return None
