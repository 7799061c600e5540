"""Problems of a definition, and how they are shown.

In: a problem and the document it was found in. Out: Diagnostic, its rendering, InvalidFlowError.
Not here: finding problems (load, check).

    bad.yaml:9:13: error FC203: node 'fetchh' is not defined  [nodes.embed.needs]
         9 |     needs: [fetchh]
           |             ^ did you mean 'fetch'?
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flowcore.errors import DefinitionError
from flowcore.graph.document import Document, Mark, Path, Position
from flowcore.types import Json

__all__ = [
    "CODES",
    "Diagnostic",
    "InvalidFlowError",
    "clean",
    "describe",
    "quote",
    "refuse",
    "render",
    "show_path",
]

#: Every code, with what it means. Codes never change their meaning; see docs/reference/errors.md.
CODES: Mapping[str, str] = {
    "FC201": "the text cannot be read",
    "FC202": "unknown key",
    "FC203": "a node that is not defined",
    "FC204": "a required key is missing",
    "FC205": "a value of the wrong kind, or out of range",
    "FC206": "defined twice",
    "FC207": "an edge from a node to itself",
    "FC208": "a cycle",
    "FC209": "a node that no start reaches",
    "FC210": "`uses` names nothing that can be called",
    "FC211": "not a duration",
    "FC212": "an expression that cannot be read",
    "FC213": "an expression that reads a node which is not upstream",
    "FC214": "a name that is not allowed",
    "FC215": "a limit is exceeded",
    "FC216": "two spellings of one thing that disagree",
    "FC217": "a flow without nodes",
    "FC218": "planned, but not in this release",
    "FC219": "a YAML feature that definitions may not use",
    "FC220": "a value that JSON cannot hold",
    "FC221": "`uses` names something that is not allowed",
    "FC222": "not one of the known choices",
    "FC223": "keys that do not belong together",
    "FC224": "a sub-flow that cannot be used",
    "FC225": "a choice that does not follow",
    "FC226": "an argument that is not taken",
    "FC227": "an input that is not declared",
    "FC228": "an expression of types that do not go together",
    "FC229": "a tool that the flow has not",
    "FC230": "a queue that no live worker serves",
    "FC242": "a name that means two things where it stands",
    "FC250": "what a function's decorator says cannot hold",
    "FC260": "a secret that is not named",
    "FC261": "a secret where it would be recorded",
    "FC262": "a credential written out",
}

#: A number, or one of the words of JSON, as it stands in a text.
_SCALAR = re.compile(r"[-+.\w]+")

MAX_SHOWN = 60
MAX_LINE = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One problem.

    Attributes:
        code: Stable code, one of ``CODES``.
        message: What is wrong, as a sentence without a full stop.
        path: The value it is about.
        suggestion: The way out, if there is a short one.
        at_key: It is about the key, not its value.
        offset: Characters into the text at ``path``; None for the whole value.
        position: Where that is in the file; None for definitions built in Python.
        quoted: The value itself, where the way out is to put it in quotes as it is written.
    """

    code: str
    message: str
    path: Path = ()
    suggestion: str | None = None
    at_key: bool = False
    offset: int | None = None
    position: Position | None = None
    quoted: float | None = None


class InvalidFlowError(DefinitionError):
    """A definition has problems, listed all at once.

    Attributes:
        diagnostics: The problems as data, in source order.
        problems: The same, rendered for people.
    """

    def __init__(self, diagnostics: Sequence[Diagnostic], problems: Sequence[str]) -> None:
        """Keep the problems as data beside their text."""
        self.diagnostics = tuple(diagnostics)
        super().__init__(problems)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.diagnostics, self.problems)


def refuse(document: Document, diagnostics: Sequence[Diagnostic]) -> InvalidFlowError:
    """Build the error for a document's problems: placed, in source order and rendered."""
    return InvalidFlowError(*render(document, diagnostics, kind="error"))


def render(
    document: Document, diagnostics: Sequence[Diagnostic], *, kind: str
) -> tuple[list[Diagnostic], list[str]]:
    """Place what was found in a document, put it in source order, and render it.

    Args:
        document: The definition.
        diagnostics: What was found.
        kind: What people read before the code: ``error`` or ``warning``.
    """
    lines = document.source.lines() if document.source else []
    placed = [_quoting(found, lines) for found in _place(document, diagnostics, lines)]
    # Where positions are equal or absent, the rules' own order stays.
    placed.sort(key=lambda found: found.position or Position(line=0, column=0))
    return placed, [_render(found, document.name, lines, kind) for found in placed]


def _place(
    document: Document, diagnostics: Sequence[Diagnostic], lines: Sequence[str]
) -> list[Diagnostic]:
    """Fill in positions, with one scan of the text for all of them."""
    source = document.source
    waiting = [found for found in diagnostics if found.position is None]
    if source is None or not waiting:
        return list(diagnostics)
    # A missing key has no place of its own: the nearest thing around it stands in.
    wanted = {found.path[:end] for found in waiting for end in range(len(found.path) + 1)}
    marks = source.locate(wanted)
    return [
        found
        if found.position
        else replace(found, position=_position(found, marks, document, lines))
        for found in diagnostics
    ]


def _quoting(found: Diagnostic, lines: Sequence[str]) -> Diagnostic:
    """Suggest quotes around a number or a truth value, with the characters that were written.

    The value alone does not tell them: ``1.10`` is read as 1.1.
    """
    if found.quoted is None:
        return found
    written = str(found.quoted).lower()
    place = found.position
    if place is not None and place.line <= len(lines):
        match = _SCALAR.match(lines[place.line - 1], place.column - 1)
        written = match[0] if match else written
    return replace(found, suggestion=f'put it in quotes: "{written}"')


def _position(
    found: Diagnostic, marks: Mapping[Path, Mark], document: Document, lines: Sequence[str]
) -> Position:
    path = found.path
    while path and path not in marks:
        path = path[:-1]
    mark = marks.get(path) or Mark(value=Position(line=1, column=1))
    if path != found.path or (found.at_key and mark.key):
        return mark.key or mark.value
    if found.offset is None:
        return mark.value
    return _inside(mark.value, lines, value_at(document.tree, path), found.offset)


def _inside(start: Position, lines: Sequence[str], text: Json, offset: int) -> Position:
    """The place of a character of a text, if the text stands in the file as it is."""
    before = str(text)[: offset + 1]
    line = lines[start.line - 1]
    for quotes in (0, 1):
        begin = start.column - 1 + quotes
        if line[begin : begin + len(before)] == before:
            return Position(line=start.line, column=begin + offset + 1)
    return start  # a block, or a text with escapes: point at where it begins


def value_at(tree: Json, path: Path) -> Json:
    """Follow a path through a tree; None where it leads nowhere."""
    for key in path:
        if isinstance(tree, Mapping) and isinstance(key, str):
            tree = tree.get(key)
        elif isinstance(tree, list) and isinstance(key, int) and key < len(tree):
            tree = tree[key]
        else:
            return None
    return tree


def _render(found: Diagnostic, name: str, lines: Sequence[str], kind: str) -> str:
    where = f"  [{show_path(found.path)}]" if found.path else ""
    if found.position is None:
        hint = f" ({found.suggestion})" if found.suggestion else ""
        return clean(f"{name}: {kind} {found.code}: {found.message}{hint}{where}")
    line, column = found.position.line, found.position.column
    head = clean(f"{name}:{line}:{column}: {kind} {found.code}: {found.message}{where}")
    if line > len(lines):
        return f"{head} ({clean(found.suggestion)})" if found.suggestion else head
    shown, caret = _window(lines[line - 1], column - 1)
    hint = f" {clean(found.suggestion)}" if found.suggestion else ""
    return f"{head}\n{line:6} | {shown}\n{'':6} | {'':{caret}}^{hint}"


def _window(line: str, caret: int) -> tuple[str, int]:
    """Cut a long line down to what is around the caret."""
    if len(line) <= MAX_LINE:
        return clean(line), caret
    start = max(0, min(caret - MAX_LINE // 2, len(line) - MAX_LINE))
    end = start + MAX_LINE
    left, right = "…" if start else "", "…" if end < len(line) else ""
    return left + clean(line[start:end]) + right, caret - start + len(left)


def clean(text: str) -> str:
    """Make a text safe for a terminal, one character for one character."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else " " if char in "\t\n" else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def describe(value: object) -> str:  # noqa: PLR0911  (a word for each kind)
    """Say what kind of JSON value this is, in words of the person who wrote it."""
    if isinstance(value, str):
        return f"text {quote(value)}" if value else "an empty text"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value!s:.40}"
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, dict):
        return "a mapping"
    return f"a list of {len(value)}" if isinstance(value, list) else "something else"


def quote(text: str) -> str:
    """Put a text in quotes, cut to a length that fits a message."""
    return f"'{clean(text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + '…')}'"


def show_path(path: Path) -> str:
    """Write a path the way people do: ``nodes.embed.needs``, ``edges[2].to``."""
    # The index in a list of names says less than the caret does.
    if len(path) > 1 and isinstance(path[-1], int) and path[-2] not in ("nodes", "edges", "agents"):
        path = path[:-1]
    shown = "".join(f"[{key}]" if isinstance(key, int) else f".{_step(key)}" for key in path)
    return shown.removeprefix(".")


def _step(key: str) -> str:
    return key if key.isprintable() and len(key) <= MAX_SHOWN else quote(key)
