"""Read a definition: a file, a text or a Python dict becomes a Document.

In: YAML, JSON or a dict. Out: a plain tree, and the means to find everything of it in the text.
Not here: what the tree means (check).

YAML is read with the scalars of YAML 1.2, which are JSON's: ``no``, ``on`` and ``2024-01-01`` are
text. Keys are always text. Anchors, aliases, tags and keys given twice are refused, so no text can
unfold to more than it holds. See ``Limits`` for sizes: 4 MiB of YAML, 64 MiB of JSON, 50 levels.
"""

import json
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path as FilePath
from typing import Any, NoReturn

import yaml

from flowcore.graph.diagnostic import Diagnostic, quote, refuse
from flowcore.graph.document import Document, Limits, LineIndex, Mark, Path, Position, Source
from flowcore.graph.json_positions import scan_json
from flowcore.graph.plain_data import INT_RANGE, NO_BOUND, Plain
from flowcore.graph.yaml_spaces import space_in_indentation, space_in_scalar
from flowcore.types import Json

__all__ = ["load_file", "load_text", "load_tree"]

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

DEFAULT_LIMITS = Limits()

#: Numbers as JSON writes them: ``02134``, ``+5``, ``.5`` and ``1.`` are text.
_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,19})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORDS: Mapping[str, bool | None] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip


def load_file(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS) -> Document:
    """Read a definition from a file: ``.json``, or YAML whatever else it is called.

    Args:
        path: The file.
        limits: How large it may be.

    Returns:
        The document, not yet checked.

    Raises:
        DefinitionError: The file cannot be read, or is not YAML or JSON.
    """
    file = FilePath(path)
    most = _most_bytes(file.name, limits)
    try:
        with file.open("rb") as stream:
            data = stream.read(most + 1)
    except (OSError, ValueError) as error:
        _fail(str(file), _unreadable(file, error))
    if len(data) > most:
        _fail(str(file), _too_large(most))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"byte {error.start + 1} is not UTF-8 text"
        _fail(str(file), Diagnostic(code="FC201", message=what))
    return load_text(text, name=str(file), limits=limits)


def load_text(text: str, *, name: str = "definition", limits: Limits = DEFAULT_LIMITS) -> Document:
    """Read a definition from a text.

    Args:
        text: YAML or JSON.
        name: What to call it in messages; ``.json`` at its end means JSON, and so does an
            opening brace if the text is JSON.
        limits: How large it may be.

    Returns:
        The document, not yet checked.

    Raises:
        DefinitionError: It is not YAML or JSON, or uses what is refused.
    """
    text = text.removeprefix("\ufeff")
    # Characters first: they are counted for nothing, and no text has more of them than bytes.
    if len(text) > limits.json_bytes:
        _fail(name, _too_large(limits.json_bytes))
    as_json = name.endswith(".json") or _is_json(text, name)
    most = limits.json_bytes if as_json else limits.yaml_bytes
    if len(text) > most or _size(text, name) > most:
        _fail(name, _too_large(most))
    return (_load_json if as_json else _load_yaml)(text, name, limits)


def _size(text: str, name: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        _fail(name, Diagnostic(code="FC220", message="half of a surrogate pair is not a character"))


def load_tree(
    tree: object, *, name: str = "definition", limits: Limits = DEFAULT_LIMITS
) -> Document:
    """Take a definition from Python values; problems then show paths but no lines.

    Args:
        tree: Mappings, lists or tuples, and scalars.
        name: What to call it in messages.
        limits: How large it may be.

    Returns:
        The document, not yet checked.

    Raises:
        DefinitionError: It holds what JSON cannot.
    """
    plain = Plain(limits)
    document = Document(tree=plain.copy(tree), name=name, limits=limits)
    if plain.problems:
        raise refuse(document, plain.problems)
    return document


def _most_bytes(name: str, limits: Limits) -> int:
    return limits.yaml_bytes if name.endswith((".yaml", ".yml")) else limits.json_bytes


def _is_json(text: str, name: str) -> bool:
    """Tell JSON from YAML's own braces, unless the name says which it is."""
    if name.endswith((".yaml", ".yml")) or not text.lstrip(" \t\r\n").startswith("{"):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _too_large(most: int) -> Diagnostic:
    return Diagnostic(code="FC215", message=f"larger than {most / 1024:,.0f} KiB")


def _unreadable(file: FilePath, error: Exception) -> Diagnostic:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    near: list[str] = []
    if isinstance(error, FileNotFoundError) and file.parent.is_dir():
        names = [sibling.name for sibling in file.parent.iterdir()]
        near = get_close_matches(file.name, names, n=1)
    hint = f"did you mean {quote(near[0])}?" if near else None
    return Diagnostic(code="FC201", message=f"cannot read the file: {reason}", suggestion=hint)


def _fail(name: str, found: Diagnostic, text: str | None = None) -> NoReturn:
    """Refuse a text that has no tree."""
    source = Source(name=name, text=text, locate=lambda _: {}) if text is not None else None
    raise refuse(Document(tree=None, name=name, source=source), [found]) from None


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────


def _load_json(text: str, name: str, limits: Limits) -> Document:
    twice = False

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        tree = dict(items)
        twice = twice or len(tree) != len(items)
        return tree

    try:
        tree = json.loads(text, object_pairs_hook=pairs, parse_int=_json_int)
    except json.JSONDecodeError as error:
        place = Position(line=error.lineno, column=error.colno)
        reason = error.msg[:1].lower() + error.msg[1:]
        found = Diagnostic(code="FC201", message=f"not JSON: {reason}", position=place)
        _fail(name, found, text)
    except RecursionError:
        found = Diagnostic(code="FC215", message=f"nested deeper than {limits.depth} levels")
        _fail(name, found, text)
    plain = Plain(limits)
    source = Source(name=name, text=text, locate=lambda paths: scan_json(text, paths).marks)
    document = Document(tree=plain.copy(tree), name=name, source=source, limits=limits)
    if plain.problems:
        raise refuse(document, plain.problems)
    if twice:
        raise refuse(document, [_twice(*found) for found in scan_json(text, ()).repeated])
    return document


def _json_int(digits: str) -> float:
    """Read a whole number; one too long for ``int`` becomes infinite, which is refused later."""
    return int(digits) if len(digits) <= 20 else math.inf  # noqa: PLR2004  (digits of 64 bits)


def _twice(path: Path, position: Position, first: int) -> Diagnostic:
    what = "node" if len(path) == 2 and path[0] == "nodes" else "key"  # noqa: PLR2004
    return Diagnostic(
        code="FC206",
        message=f"{what} {quote(str(path[-1]))} is defined twice",
        path=path,
        suggestion=f"first defined in line {first}",
        position=position,
    )


# ── YAML ────────────────────────────────────────────────────────────────────────────────────────


def _load_yaml(text: str, name: str, limits: Limits) -> Document:
    reader = _YamlReader(text, name, limits)
    tree = reader.read()
    locate = partial(_locate_yaml, text, name, limits)
    source = Source(name=name, text=text, locate=locate)
    document = Document(tree=tree, name=name, source=source, limits=limits)
    if reader.problems:
        raise refuse(document, reader.problems)
    return document


def _locate_yaml(
    text: str, name: str, limits: Limits, paths: Collection[Path]
) -> Mapping[Path, Mark]:
    reader = _YamlReader(text, name, limits, wanted=frozenset(paths))
    reader.read()
    return reader.marks


class _YamlReader:
    """Builds a tree from the events of PyYAML's parser.

    Its composer and constructor are not used: they resolve aliases, tags and YAML 1.1 scalars.
    """

    def __init__(
        self, text: str, name: str, limits: Limits, *, wanted: frozenset[Path] = frozenset()
    ) -> None:
        self.problems: list[Diagnostic] = []
        self.marks: dict[Path, Mark] = {}
        self._text, self._name, self._limits = text, name, limits
        self._wanted = wanted
        self._events: Iterator[Any] = iter(())

    def read(self) -> Json:
        self._refuse_byte_order_mark()
        try:
            self._events = yaml.parse(self._text, Loader=Loader)
            next(self._events)  # the start of the stream
            return self._document()
        except yaml.MarkedYAMLError as error:
            self._refuse_indentation(error.problem_mark, error.context_mark)
            self._refuse("FC201", f"not YAML: {error.problem}", error.problem_mark)
        except yaml.YAMLError as error:
            self._refuse("FC201", f"not YAML: {str(error).splitlines()[0]}")

    def _document(self) -> Json:
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None
        tree = self._value(next(self._events), ())
        next(self._events)  # the end of the document
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            self._refuse("FC219", "a second document: one file holds one flow", after.start_mark)
        return tree

    def _value(self, event: Any, path: Path, key: Any = None) -> Json:
        self._plain(event)
        if path in self._wanted:
            at = _position(event.start_mark)
            self.marks[path] = Mark(value=at, key=_position(key) if key else None)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path)
        if len(path) >= self._limits.depth:
            what = f"nested deeper than {self._limits.depth} levels"
            self._refuse("FC215", what, event.start_mark)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path)
        return self._mapping(path)

    def _plain(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            what = f"anchors and aliases are not allowed: {quote(sign + event.anchor)}"
            self._refuse("FC219", what, event.start_mark, "write the value out")
        if event.tag is not None:
            what = f"tags are not allowed: {quote(event.tag)}"
            self._refuse("FC219", what, event.start_mark, "write plain values")

    def _list(self, path: Path) -> Json:
        items: list[Json] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> Json:
        tree: dict[str, Json] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            self._plain(event)
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse("FC219", "a key must be text", event.start_mark)
            if event.implicit[0]:
                self._refuse_spaces(event)
            key: str = event.value
            mark: Any = event.start_mark
            below = (*path, key)
            value = self._value(next(self._events), below, mark)
            if key in tree:
                self.problems.append(_twice(below, _position(mark), lines[key]))
            else:
                tree[key], lines[key] = value, mark.line + 1
        return tree

    def _scalar(self, event: Any, path: Path) -> Json:
        text: str = event.value
        if not event.implicit[0]:  # quoted, or a block
            return text
        self._refuse_spaces(event)
        if text in _WORDS:
            return _WORDS[text]
        if _INT.fullmatch(text) and (number := int(text)) in INT_RANGE:
            return number
        if _FLOAT.fullmatch(text):
            return self._float(text, path, event.start_mark)
        return text

    def _float(self, text: str, path: Path, mark: Any) -> Json:
        value = float(text)
        if math.isfinite(value) and not text.lstrip("-").isdigit():
            return value
        what = f"{quote(text)} is not a number that JSON can hold"
        place = _position(mark)
        hint = f"put it in quotes if it is text; {NO_BOUND}"
        found = Diagnostic(code="FC220", message=what, path=path, suggestion=hint, position=place)
        self.problems.append(found)
        return None

    def _refuse_byte_order_mark(self) -> None:
        """Refuse such a mark before a line: the parser skips it, and with it an indentation."""
        if (at := self._text.find("\n\ufeff")) >= 0:
            found = space_in_indentation(self._text[at + 1 :])
            place = LineIndex(self._text).position(at + 1)
            what = found.message if found is not None else ""
            _fail(self._name, Diagnostic(code="FC201", message=what, position=place), self._text)

    def _refuse_indentation(self, problem: Any, context: Any) -> None:
        """Refuse a text whose trouble is a tab, or what looks like a space, on these lines."""
        lines = LineIndex(self._text)
        first = min(mark.line for mark in (problem, context) if mark is not None)
        for number in range(first, problem.line + 1):
            line = lines.line(number)
            indent = len(line) - len(line.lstrip(" "))
            found = space_in_indentation(line) or space_in_scalar(line.strip("\n"), start=indent)
            if found is not None:
                place = Position(line=number + 1, column=found.offset + 1)
                trouble = Diagnostic(code="FC201", message=found.message, position=place)
                _fail(self._name, trouble, self._text)

    def _refuse_spaces(self, event: Any) -> None:
        """Refuse an unquoted text in which something that looks like a space hides structure."""
        if event.value.isascii():
            return
        start = event.start_mark.index
        found = space_in_scalar(self._text[start : event.end_mark.index])
        if found is None:
            return
        place = LineIndex(self._text).position(start + found.offset)
        hint = "type a space; or put the text in quotes"
        trouble = Diagnostic(code="FC201", message=found.message, suggestion=hint, position=place)
        _fail(self._name, trouble, self._text)

    def _refuse(
        self, code: str, message: str, mark: Any = None, hint: str | None = None
    ) -> NoReturn:
        place = _position(mark) if mark else None
        found = Diagnostic(code=code, message=message, suggestion=hint, position=place)
        _fail(self._name, found, self._text if mark else None)


def _position(mark: Any) -> Position:
    return Position(line=mark.line + 1, column=mark.column + 1)
