"""Values of CEL that JSON does not have, and the names of all types.

In: Python values. Out: CEL's name for their type; classes for unsigned numbers, times, durations
and types. Not here: what operators and functions do with them (arithmetic, functions), how times
are read and written (times).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["INT", "UINT", "CelType", "Duration", "Timestamp", "Uint", "type_name"]

#: What CEL's ``int`` and ``uint`` hold.
INT: Final = (-(2**63), 2**63 - 1)
UINT: Final = (0, 2**64 - 1)


class Uint(int):
    """An unsigned whole number of an expression (``1u``)."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A moment: nanoseconds since 1970 in UTC."""

    nanoseconds: int


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A span of time, in nanoseconds; negative ones run backwards."""

    nanoseconds: int


@dataclass(frozen=True, slots=True)
class CelType:
    """A type as a value: what ``type(1)`` gives."""

    name: str


_NAMES: Mapping[type, str] = {
    type(None): "null",
    bool: "bool",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    list: "list",
    tuple: "list",
    dict: "map",
    Timestamp: "timestamp",
    Duration: "duration",
    CelType: "type",
}
_BASES: tuple[tuple[type, str], ...] = (
    (str, "string"),
    (bytes, "bytes"),
    (float, "double"),
    (Mapping, "map"),
    (Sequence, "list"),
)


def type_name(value: object) -> str:
    """CEL's name for the type of a value; Python's for one that is none of CEL's."""
    name = _NAMES.get(type(value))
    if name is not None:
        return name
    if isinstance(value, int):
        # A number that only an unsigned one can hold is one.
        return "uint" if value > INT[1] else "int"
    return next((name for base, name in _BASES if isinstance(value, base)), type(value).__name__)
