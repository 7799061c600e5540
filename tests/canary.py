"""A secret that is looked for wherever it must not be."""

import base64
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["CANARY", "leaks_in", "texts_in"]

CANARY = "canary/Qz7+value=42"

_PACKED = base64.b64encode(CANARY.encode()).decode().rstrip("=")


def _pieces() -> Iterator[str]:
    """Parts of it that say something, as they are and encoded."""
    for text, size in ((CANARY, 6), (urllib.parse.quote(CANARY, safe=""), 8), (_PACKED, 8)):
        yield from (text[at : at + size] for at in range(len(text) - size + 1))
    yield CANARY.encode().hex()[:16]


_PIECES = sorted(set(_pieces()))


def leaks_in(text: str | bytes) -> list[str]:
    """Return the parts of the canary that a text holds, with what is around them."""
    told = text if isinstance(text, str) else text.decode("latin-1")
    found = [(piece, told.find(piece)) for piece in _PIECES]
    return [told[max(0, at - 80) : at + 40] for _, at in found if at >= 0]


def texts_in(value: Any, seen: set[int] | None = None) -> Iterator[str]:
    """Yield all texts that an object holds, however deep."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, str | bytes):
        yield value if isinstance(value, str) else value.decode("latin-1")
        return
    for part in _parts(value):
        yield from texts_in(part, seen)


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        return value
    if hasattr(value, "__dict__"):
        return list(vars(value).values())
    slots = getattr(type(value), "__slots__", ())
    return [getattr(value, name) for name in slots if hasattr(value, name)]
