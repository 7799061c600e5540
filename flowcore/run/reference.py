"""References: what stands in a run's record for a value that is kept elsewhere.

In: facts of a payload. Out: a small blob, and back. Not here: keeping payloads (ports.payloads).

A reference can never be mistaken for data: it begins with the byte 0xC1, which msgpack never
writes and never reads, and it is told apart by that byte before anything is decoded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack
from pydantic import BaseModel

__all__ = ["Reference", "is_reference", "names_in", "read_reference", "shown"]

_MARK = b"\xc1"
_VERSION = 1

#: A space becomes a part of paths and keys, so nothing else gets through. See ``ports.payloads``.
#: A run's id, and a token; that of a run inside another has a part for each. No part leads upwards.
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.:@\-]{0,140}"
_SPACE = re.compile(rf"{_PART}(?:/{_PART}){{0,20}}")
_DIGEST = re.compile(r"[0-9a-f]{64}")

#: Names are a hint: above this many characters they are left out.
_MOST_NAMES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Location of a payload, and the check that it is whole."""

    space: str
    """The part of the payload store that belongs to its run."""
    digest: str
    """SHA-256 of the payload in hexadecimal digits: ``sha256sum`` of its file."""
    size: int
    """Bytes."""
    place: str
    """The store it was put into, as that store names itself."""
    names: tuple[str, ...] | None = None
    """Keys, if it is a map; none if it is not one; None when they are too many to say."""

    def to_blob(self) -> bytes:
        """Write it down."""
        names = None if self.names is None else list(self.names)
        fields = [_VERSION, self.space, self.digest, self.size, self.place, names]
        packed: bytes = msgpack.packb(fields)
        return _MARK + packed

    def may_have(self, name: str) -> bool:
        """Say whether the value may be a map with this key, without reading it."""
        return self.names is None or name in self.names


def is_reference(blob: bytes) -> bool:
    """Tell a reference from data, by its first byte."""
    return blob[:1] == _MARK


def read_reference(blob: bytes) -> Reference | None:
    """Read what ``to_blob`` wrote; None for data.

    Raises:
        ValueError: It is a reference, but damaged or of a later release.
    """
    if not is_reference(blob):
        return None
    try:
        version, space, digest, size, place, names = msgpack.unpackb(blob[1:])
        right = (
            version == _VERSION
            and _SPACE.fullmatch(space) is not None
            and _DIGEST.fullmatch(digest) is not None
            and type(size) is int
            and size >= 0
            and isinstance(place, str)
        )
        kept = None if names is None else tuple(map(str, names))
    except (TypeError, ValueError, msgpack.UnpackException) as error:
        msg = f"a reference of {len(blob)} bytes cannot be read"
        raise ValueError(msg) from error
    if not right:
        msg = f"a reference of {len(blob)} bytes is damaged or of a later release"
        raise ValueError(msg)
    return Reference(space=space, digest=digest, size=size, place=place, names=kept)


def names_in(value: Any) -> tuple[str, ...] | None:
    """Return the keys of a map, for ``Reference.names``."""
    if isinstance(value, str | bytes | int | float | list | tuple | None):
        return ()
    # What a model or a dataclass becomes is known on the wire only.
    if not isinstance(value, Mapping) or isinstance(value, BaseModel):
        return None
    names: list[str] = []
    room = _MOST_NAMES
    for name in value:
        room -= len(name) + 1 if isinstance(name, str) else _MOST_NAMES
        if room < 0:
            return None  # or it becomes a text on the wire only
        names.append(name)
    return tuple(names)


def shown(reference: Reference) -> dict[str, Any]:
    """Lay a reference out for people, in place of the value."""
    return {
        "payload": {
            "bytes": reference.size,
            "sha256": reference.digest,
            "kept_in": reference.place,
        }
    }
