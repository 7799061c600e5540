"""Values on the wire: msgpack of plain types, both ways.

In: any value of the table of values (values). Out: bytes. Not here: which values there are, and
what they become (values); pickle, type tags, revival of any kind.
"""

import gc
from collections.abc import Iterator
from itertools import islice, repeat
from typing import Any, Final

import msgpack
import ormsgpack

from flowcore.run.values import DEEPEST, plain_value

__all__ = ["COMBINED", "is_same", "pack", "unpack"]

#: Lists and maps inside each other, where the engine puts values of nodes into lists and maps.
COMBINED: Final = DEEPEST + 65
#: What the encoder would make plain by rules of its own is left to the table of values.
_AS_IT_IS: Final = (
    ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_UUID
)

#: Bytes above which a value is decoded in parts, and the bytes of one part.
LARGE = 8 * 2**20
_PART = 2**20

#: How far down parts are looked for; below, a value is decoded whole.
_DEEPEST = 16


def pack(value: Any, *, what: str = "value", deepest: int = DEEPEST) -> bytes:
    """Encode a value.

    Most values are plain data, which takes one call into C: it refuses all that is not in the
    table of values as it stands, keys that are no text among that.

    Args:
        value: Plain data, or what becomes plain by the table of values (``run.values``).
        what: How an error names the value, such as ``output of node 'fetch'``.
        deepest: Lists and maps inside each other that it may have.

    Raises:
        UnsupportedValueError: Something in the value cannot be kept; names where it is.
    """
    try:
        return ormsgpack.packb(value, option=_AS_IT_IS)
    except TypeError:
        plain = plain_value(value, what=what, deepest=deepest)
    if deepest <= DEEPEST:
        return ormsgpack.packb(plain, option=_AS_IT_IS)
    packed: bytes = msgpack.packb(plain)  # goes deeper
    return packed


def is_same(one: Any, other: Any) -> bool:
    """Say whether two values are the same once they are stored, whatever the order of keys.

    Python would not know: to it a number that is none (NaN) is not even equal to itself.
    """
    return _sorted(one) == _sorted(other)


def _sorted(value: Any) -> bytes:
    option = _AS_IT_IS | ormsgpack.OPT_SORT_KEYS
    try:
        return ormsgpack.packb(value, option=option)
    except TypeError:
        plain = plain_value(value, what="value", deepest=COMBINED)
    try:
        return ormsgpack.packb(plain, option=option)
    except TypeError:  # deeper than it goes
        return pack(plain, deepest=COMBINED)


def unpack(packed: bytes) -> Any:
    """Decode what ``pack`` wrote; maps may have keys of any plain type."""
    if len(packed) < LARGE:
        return ormsgpack.unpackb(packed, option=ormsgpack.OPT_NON_STR_KEYS)
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
        """Yield the number of children to decode in each turn; 0: one, which may be large."""
        at_once = count * _PART // len(self._packed)
        if not at_once:
            yield from repeat(0, count)
            return
        for start in range(0, count, at_once):
            yield min(at_once, count - start)
