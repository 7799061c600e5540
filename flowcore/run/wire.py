"""Values on the wire: msgpack of plain types, both ways.

In: JSON values, plus bytes, pydantic models and dataclasses. Out: bytes, or a clear error that
says where the value is that cannot travel. Not here: pickle, type tags, revival of any kind.
"""

import dataclasses
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, repeat
from typing import Any

import msgpack
from pydantic import BaseModel

from flowcore.errors import UnsupportedValueError

__all__ = ["pack", "unpack"]

#: Bytes above which a value is decoded in parts, and the bytes of one part.
LARGE = 8 * 2**20
_PART = 2**20

#: How far down parts are looked for; below, a value is decoded whole.
_DEEPEST = 16

_PLAIN = (str, bytes, int, float, bool, type(None))


def pack(value: Any, *, what: str = "value") -> bytes:
    """Encode a value.

    Args:
        value: Plain data: None, bool, int (64 bit), float, str, bytes, lists, tuples and maps with
            keys of these, but for lists and maps; pydantic models and dataclasses travel as maps.
        what: How an error names the value, such as ``output of node 'fetch'``.

    Raises:
        UnsupportedValueError: Something in the value cannot travel; names where it is.
    """
    try:
        return _packed(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        where = _culprit(value, what)
        msg = f"{where or f'{what}: {error}'}; use plain data (numbers, text, lists, maps)"
        raise UnsupportedValueError(msg) from error


def unpack(packed: bytes) -> Any:
    """Decode what ``pack`` wrote; maps may have keys of any plain type."""
    if len(packed) < LARGE:
        return msgpack.unpackb(packed, strict_map_key=False)
    return _in_parts(packed)


def _in_parts(packed: bytes, *, keep: bool = True) -> Any:
    """Decode a large value while no garbage is looked for: decoding makes none.

    Millions of new lists and maps would have the collector look at all of them again and again.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        return _Parts(packed, keep=keep).value()
    finally:
        if was:
            gc.enable()


class _Parts:
    """Decodes a large value part by part, so that other threads get their turn in between.

    The decoder holds the interpreter for as long as one call takes, seconds for 100 MB of small
    things. A heartbeat that waits for that long loses the node.
    """

    def __init__(self, packed: bytes, *, keep: bool = True) -> None:
        """Decode ``packed``; without ``keep`` only to see whether it can be decoded."""
        self._packed = packed
        self._keep = keep
        self._decoder = msgpack.Unpacker(strict_map_key=False, max_buffer_size=len(packed))
        self._decoder.feed(packed)

    def value(self, depth: int = 0) -> Any:
        """Decode the next value, and an array or a map of large things one after the other."""
        at = self._decoder.tell()
        kind = self._packed[at]
        if depth < _DEEPEST:
            if 0x90 <= kind <= 0x9F or kind in {0xDC, 0xDD}:  # noqa: PLR2004  (msgpack's arrays)
                return self._array(self._decoder.read_array_header(), depth)
            if 0x80 <= kind <= 0x8F or kind in {0xDE, 0xDF}:  # noqa: PLR2004  (msgpack's maps)
                return self._map(self._decoder.read_map_header(), depth)
        return self._decoder.unpack()

    def _array(self, count: int, depth: int) -> list[Any]:
        found: list[Any] = []
        for few in self._few(count):
            part = self._next(few) if few else [self.value(depth + 1)]
            if self._keep:
                found += part
        return found

    def _map(self, count: int, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for few in self._few(count):
            if few:
                flat = self._next(2 * few)
                part = dict(zip(flat[::2], flat[1::2], strict=True))
            else:
                key = self._decoder.unpack()
                part = {key: self.value(depth + 1)}
            if self._keep:
                found |= part
        return found

    def _next(self, number: int) -> list[Any]:
        found = list(islice(self._decoder, number))
        if len(found) < number:
            msg = f"{len(self._packed)} bytes end in the middle of a value"
            raise ValueError(msg)
        return found

    def _few(self, count: int) -> Iterator[int]:
        """How many children to decode in each turn; 0: one, which may be large itself."""
        at_once = count * _PART // len(self._packed)
        if not at_once:
            yield from repeat(0, count)
            return
        for start in range(0, count, at_once):
            yield min(at_once, count - start)


def _packed(value: Any) -> bytes:
    """Encode a value that can be read back, which most values need not be to know it.

    What cannot be read back is a map with a key that travels as a list or a map. Exact lists and
    maps cannot be keys, so only a value that holds something else of their kind is read back.
    """
    packed: bytes
    try:
        packed = msgpack.packb(value, default=_no_key, strict_types=True)
    except _MayBeKeyError:
        packed = msgpack.packb(value, default=_plain)
        if len(packed) < LARGE:
            unpack(packed)
        else:
            _in_parts(packed, keep=False)
    return packed


class _MayBeKeyError(Exception):
    """A tuple, say, is somewhere in the value."""


def _no_key(value: Any) -> Any:
    """Make plain what is not exactly a list, a map or a scalar, unless it could be a bad key."""
    for kind, base in _BASES:
        if isinstance(value, kind):
            return base(value)
    # A type without a hash cannot be a key: most models and dataclasses, a defaultdict.
    if type(value).__hash__ is not None:
        raise _MayBeKeyError
    return list(value) if isinstance(value, list) else _plain(value)


#: Enumerations and other kinds of scalars travel as what they are kinds of, whatever they show.
_BASES: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (bytes, bytes.__bytes__),
)


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
    if isinstance(value, BaseModel) or dataclasses.is_dataclass(value):
        value = _plain(value)
    if isinstance(value, Mapping):
        children = [(f"{path}[{key!r}]", child) for key, child in value.items()]
        if found := _bad_key(value, path):
            return found
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        children = [(f"{path}[{index}]", child) for index, child in enumerate(value)]
    else:
        return _blame(value, path)
    return next(filter(None, (_culprit(child, at, depth + 1) for at, child in children)), None)


def _bad_key(value: Mapping[Any, Any], path: str) -> str | None:
    for key in value:
        if not isinstance(key, _PLAIN):
            return f"{path} has a {type(key).__qualname__} as a key, {key!r}"
        if found := _blame(key, f"a key of {path}"):
            return found
    return None


def _blame(value: Any, path: str) -> str | None:
    try:
        msgpack.packb(value, default=_plain)
    except UnicodeEncodeError:
        return f"{path} holds half of a surrogate pair, which is not text"
    except (TypeError, ValueError, OverflowError):
        # Not shown: the digits of some whole numbers are more than Python cares to write.
        if isinstance(value, int):
            return f"{path} is a whole number of more than 64 bits"
        return f"{path} is a {type(value).__qualname__}, which cannot be stored"
    return None
