"""Find places in a JSON text that is known to be valid.

In: the text and the paths wanted. Out: where they stand, and keys given twice.
Not here: reading JSON (load, with the standard library, which keeps no positions).
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from flowcore.graph.document import LineIndex, Mark, Path, Position

__all__ = ["JsonScan", "scan_json"]

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]|[^\s{}\[\],:"]+', re.DOTALL)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


@dataclass(slots=True, kw_only=True)
class JsonScan:
    """Result of one pass over a JSON text.

    Attributes:
        marks: Places of the wanted paths.
        repeated: For each key given again: its path, place, and the line of the first.
    """

    marks: dict[Path, Mark] = field(default_factory=dict)
    repeated: list[tuple[Path, Position, int]] = field(default_factory=list)


def scan_json(text: str, wanted: Collection[Path]) -> JsonScan:
    """Find the wanted paths, and every repeated key, in one pass.

    Args:
        text: Valid JSON, nested no deeper than the limits of a document.
        wanted: Paths to find.

    Returns:
        Their marks, and repeated keys.
    """
    return _Scanner(text, frozenset(wanted)).scan()


class _Scanner:
    def __init__(self, text: str, wanted: frozenset[Path]) -> None:
        self._lines = LineIndex(text)
        self._wanted = wanted
        self._tokens: Iterator[re.Match[str]] = _TOKEN.finditer(text)
        self._found = JsonScan()

    def scan(self) -> JsonScan:
        self._value(next(self._tokens), (), None)
        return self._found

    def _value(self, token: re.Match[str], path: Path, key: int | None) -> None:
        if path in self._wanted:
            at = self._lines.position(token.start())
            above = None if key is None else self._lines.position(key)
            self._found.marks[path] = Mark(value=at, key=above)
        if token[0] == "{":
            self._mapping(path)
        elif token[0] == "[":
            for index, item in enumerate(iter(self._tokens.__next__, None)):
                if item[0] == "]":
                    return
                self._value(item, (*path, index), None)

    def _mapping(self, path: Path) -> None:
        seen: dict[str, int] = {}
        for token in self._tokens:
            if token[0] == "}":
                return
            key = _ESCAPE.sub(_unescape, token[0][1:-1])
            below = (*path, key)
            if key in seen:
                first = self._lines.position(seen[key]).line
                place = self._lines.position(token.start())
                self._found.repeated.append((below, place, first))
            else:
                seen[key] = token.start()
            self._value(next(self._tokens), below, token.start())


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _SHORT.get(code, code)
