"""Source of a definition: a raw tree, and the place in a file of everything in it.

In: nothing. Out: Document, Source, Position, Mark, Limits.
Not here: reading formats (load), judging what was read (check).

Places are looked up only once there is something to point at: a definition without problems is
never scanned for them.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from flowcore.types import Json

__all__ = ["STRICT", "Document", "Limits", "LineIndex", "Mark", "Path", "Position", "Source"]

#: Keys and list indices from the root of a definition to a value in it.
Path: TypeAlias = tuple[str | int, ...]

KIB = 1024
MIB = 1024 * KIB

# What YAML 1.1 counts as the end of a line; positions count the same way.
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Size limits of a definition; a larger one is refused before it is read.

    The defaults are for files of the person who runs the command. ``STRICT`` is for text that
    came over a network.
    """

    yaml_bytes: int = 4 * MIB
    """UTF-8 bytes of a YAML text (about 50,000 nodes)."""
    json_bytes: int = 64 * MIB
    """UTF-8 bytes of a JSON text; larger, because JSON is read twenty times faster."""
    depth: int = 50
    """Mappings and lists inside each other."""
    values: int = 5_000_000
    """Scalars, mappings and lists in all."""
    nodes: int = 100_000
    """Nodes of one flow."""
    expressions: int = 256 * KIB
    """Characters of expressions that are more than a path: compiling them takes two seconds."""


#: For definitions from strangers.
STRICT = Limits(yaml_bytes=256 * KIB, json_bytes=MIB, values=200_000, expressions=64 * KIB)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Position:
    """A place in a text; both numbers count from 1, in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Position of a value, and its key if it has one."""

    value: Position
    key: Position | None = None


Locator: TypeAlias = Callable[[Collection[Path]], Mapping[Path, Mark]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The text a definition was read from.

    Attributes:
        name: File name, as shown to people.
        text: The whole text.
        locate: Finds the places of the given paths in one scan; unknown paths are left out.
    """

    name: str
    text: str
    locate: Locator

    def lines(self) -> list[str]:
        """The lines of the text, without their ends."""
        return _BREAK.split(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A definition as it was written: read, not yet judged.

    Attributes:
        tree: Plain JSON values.
        source: The text behind it; None if it was built in Python.
        name: What to call it in messages.
        limits: The limits it was read under; ``check`` applies the rest of them.
    """

    tree: Json
    name: str
    source: Source | None = None
    limits: Limits = Limits()


class LineIndex:
    """Turns offsets into lines and columns."""

    def __init__(self, text: str) -> None:
        """Find where every line starts."""
        self._text = text
        self._starts = [0, *(match.end() for match in _BREAK.finditer(text))]

    def position(self, offset: int) -> Position:
        """The line and column of one offset, in characters from the start of the text."""
        line = bisect_right(self._starts, offset)
        return Position(line=line, column=offset - self._starts[line - 1] + 1)

    def line(self, number: int) -> str:
        """The text of a line, counted from 0, with its end; empty behind the last line."""
        if number >= len(self._starts):
            return ""
        ends = self._starts[number + 1] if number + 1 < len(self._starts) else len(self._text)
        return self._text[self._starts[number] : ends]
