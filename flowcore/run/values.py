"""The one table of values: what nodes, signals and memories may hold, and what it becomes.

In: any Python value. Out: plain data (None, bool, int, float, str, bytes, lists, maps with keys of
text), or an error that says what cannot be kept, where it is, and what to give instead. Not here:
bytes on the wire (wire), JSON text (json_text). The table for people is docs/reference/values.md;
nothing else in flowcore decides it.

Dates, times, Decimal, UUID and paths become text, as JSON libraries have it. What has no order or
no bounds of its own, such as a set or a generator, is refused: nothing is guessed.
"""

import dataclasses
import sys
from collections import UserString
from collections.abc import Callable, Collection, ItemsView, KeysView, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from pathlib import PurePath
from typing import Any, Final, NoReturn
from uuid import UUID

from pydantic import BaseModel

from flowcore.errors import FlowcoreError, UnsupportedValueError

__all__ = ["DEEPEST", "plain_value"]

#: Lists and maps inside each other, of what a node gives.
DEEPEST: Final = 255
_INTEGERS: Final = (-(2**63), 2**64 - 1)
_SCALARS = frozenset({type(None), bool, float})
#: Numbers of a range, which holds none of them before it is asked.
_MANY = 10_000_000
_SHOWN = 60

_Path = tuple[Any, ...]


def plain_value(value: Any, *, what: str, deepest: int = DEEPEST) -> Any:
    """Make a value plain data, by the table of values.

    Args:
        value: What was given.
        what: How an error names it, such as ``output of node 'fetch'``.
        deepest: Lists and maps inside each other that it may have.

    Raises:
        UnsupportedValueError: Something in it cannot be kept; says where, and a way out.
    """
    return _Table(what, deepest).of(value, ())


class _Table:
    def __init__(self, what: str, deepest: int) -> None:
        self._what = what
        self._deepest = deepest

    def of(self, value: Any, path: _Path) -> Any:
        kind = type(value)
        if kind in _SCALARS:
            return value
        make = _EXACTLY.get(kind)
        if make is None:
            # By its type: some things only say that they are of another class.
            make = next((make for base, make in _KINDS if issubclass(kind, base)), _Table.foreign)
        try:
            return make(self, value, path)
        except FlowcoreError:
            raise  # what is refused inside; an end of the attempt
        except (Exception, SystemExit) as error:  # noqa: BLE001  (methods of users' own classes)
            self.refuse(
                path,
                f"is a {_name(value)}, which fails when it is read: {_said(error)}",
                "give plain data",
            )

    def refuse(self, path: _Path, problem: str, way_out: str) -> NoReturn:
        where = "".join(f"[{_short(step)}]" for step in path[:20])
        more = "…" if len(path) > 20 else ""  # noqa: PLR2004  (nobody reads on)
        raise UnsupportedValueError(f"{self._what}{where}{more}: {problem}; {way_out}")

    # ── texts and numbers ───────────────────────────────────────────────────────────────────────

    def text(self, value: str, path: _Path) -> str:
        text = str.__str__(value)
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                self.refuse(
                    path,
                    "holds half of a surrogate pair, which is not text",
                    "give its bytes, or text.encode('utf-8', 'replace').decode()",
                )
        return text

    def whole(self, value: int, path: _Path) -> int:
        number = int.__int__(value)
        if not _INTEGERS[0] <= number <= _INTEGERS[1]:
            # Not shown: some have more digits than Python cares to write.
            self.refuse(path, "is a whole number of more than 64 bits", "give str(number)")
        return number

    def floating(self, value: float, _: _Path) -> float:
        return float.__float__(value)

    def bytes(self, value: bytes | bytearray | memoryview, _: _Path) -> bytes:
        return memoryview(value).tobytes()  # whatever a class of its own says of itself

    def written(self, value: object, path: _Path) -> str:
        return self.text(str(value), path)

    def time(self, value: date | time, path: _Path) -> str:
        text = self.text(value.isoformat(), path)
        if isinstance(value, datetime) and text.endswith("+00:00"):
            return text.removesuffix("+00:00") + "Z"
        return text

    def duration(self, value: timedelta, _: _Path) -> str:
        # Those of pandas have nanoseconds, too.
        nanos = value // timedelta(microseconds=1) * 1000 + int(getattr(value, "nanoseconds", 0))
        seconds, rest = divmod(abs(nanos), 1_000_000_000)
        fraction = f".{rest:09d}".rstrip("0") if rest else ""
        return f"{'-' if nanos < 0 else ''}{seconds}{fraction}s"

    # ── lists and maps ──────────────────────────────────────────────────────────────────────────

    def items(self, value: Any, path: _Path) -> list[Any]:
        self.check_depth(path)
        items = []
        for index, item in enumerate(value):
            items.append(self.of(item, (*path, index)))
        return items

    def sequence(self, value: Sequence[Any], path: _Path) -> list[Any]:
        if isinstance(value, range) and abs(value.stop - value.start) > _MANY:
            self.refuse(path, f"is a range of more than {_MANY:,} numbers", "give its ends")
        return self.items(self.as_many_as_it_says(value, path), path)

    def as_many_as_it_says(self, value: Collection[Any], path: _Path) -> list[Any]:
        """Take the members of a class of the user's, which may never come to an end."""
        count = min(len(value), _MANY)
        members = list(islice(value, count + 1))
        if len(members) > count:
            self.refuse(path, f"has more than {count:,} members, or no end", "give a list")
        return members

    def map(self, value: Mapping[Any, Any], path: _Path) -> dict[str, Any]:
        self.check_depth(path)
        made: dict[str, Any] = {}
        keys = value if type(value) is dict else self.as_many_as_it_says(value, path)
        for key in keys:
            name = key if type(key) is str else self.key(key, path)
            if name in made:
                self.refuse(path, f"has two keys that are {_short(name)} as text", "rename one")
            made[self.text(name, path)] = self.of(value[key], (*path, key))
        return made

    def key(self, key: Any, path: _Path) -> str:
        """The text of a key that is some kind of text, or becomes text by the table."""
        name = self.of(key, path) if issubclass(type(key), _KEYS) else None
        if not isinstance(name, str):
            self.refuse(
                path,
                f"has the key {_short(key)}, of type {_name(key)}, which is not text",
                "give str(key) for every key",
            )
        return name

    def check_depth(self, path: _Path) -> None:
        if len(path) >= self._deepest:
            self.refuse(
                path,
                f"is nested deeper than {self._deepest} levels (or holds itself)",
                "give it flatter, or as text",
            )

    # ── classes ─────────────────────────────────────────────────────────────────────────────────

    def member(self, value: Enum, path: _Path) -> Any:
        return self.of(value.value, path)

    def model(self, value: BaseModel, path: _Path) -> Any:
        try:
            dumped = value.model_dump(mode="json")
        except Exception as error:  # noqa: BLE001  (a model's serialisers are the user's code)
            self.refuse(path, f"the model {_name(value)} cannot be dumped: {error}", "mend it")
        return self.of(dumped, path)

    def unordered(self, value: object, path: _Path) -> NoReturn:
        self.refuse(path, f"is a {_name(value)}, which has no order", "give sorted(…) or list(…)")

    def foreign(self, value: Any, path: _Path) -> Any:
        """Convert values recognised by their attributes: dataclasses, attrs, numpy."""
        names = _fields_of(value)
        numpy = sys.modules.get("numpy")  # what is not loaded made no value
        if names is not None:
            made = self.map({name: getattr(value, name) for name in names}, path)
        elif numpy is not None and issubclass(type(value), numpy.ndarray | numpy.generic):
            made = self.numpy(value, path, numpy)
        else:
            self.refuse(path, f"is a {_name(value)}, which cannot be kept", _way_out(value))
        return made

    def numpy(self, value: Any, path: _Path, numpy: Any) -> Any:
        kind = value.dtype.kind
        if kind == "M":
            return self.of(numpy.datetime_as_string(value).tolist(), path)
        if kind in "mcV" or (kind == "f" and value.dtype.itemsize > _DOUBLE):
            self.refuse(path, f"is numpy's {value.dtype}", "give numbers or text")
        return self.of(value.tolist(), path)


_DOUBLE = 8
_KEYS = (str, UserString, Enum, date, time, UUID, Decimal, PurePath)

#: In this order: an enumeration of texts is a text first, and a time of pandas a time.
_KINDS: tuple[tuple[Any, Callable[[_Table, Any, _Path], Any]], ...] = (
    (str, _Table.text),
    (int, _Table.whole),
    (float, _Table.floating),
    (bytes | bytearray | memoryview, _Table.bytes),
    (Enum, _Table.member),
    (date | time, _Table.time),
    (timedelta, _Table.duration),
    (Decimal | UUID | PurePath | UserString, _Table.written),
    (BaseModel, _Table.model),
    (Mapping, _Table.map),
    (KeysView | ValuesView | ItemsView, _Table.sequence),
    (AbstractSet, _Table.unordered),
    (list | tuple | Sequence, _Table.sequence),
)


_EXACTLY: Mapping[type, Callable[[_Table, Any, _Path], Any]] = {
    str: _Table.text,
    dict: _Table.map,
    list: _Table.items,
    tuple: _Table.items,
}


def _fields_of(value: object) -> list[str] | None:
    """The names of a dataclass's or an attrs class's fields; None of anything else."""
    if isinstance(value, type):
        return None
    if dataclasses.is_dataclass(value):
        return [one.name for one in dataclasses.fields(value)]
    attributes = getattr(type(value), "__attrs_attrs__", None)
    return None if attributes is None else [one.name for one in attributes]


def _way_out(value: object) -> str:
    if isinstance(value, type):
        return "give its name"
    for method in ("tolist", "to_dict", "to_list", "_asdict"):
        if callable(getattr(value, method, None)):
            return f"give its {method}()"
    if hasattr(value, "__next__"):
        return "give list(…), or yield from the node"
    return "give plain data (numbers, text, lists, maps)"


def _name(value: object) -> str:
    return str(type.__getattribute__(type(value), "__qualname__"))


def _said(error: BaseException) -> str:
    """An error of a user's class, whose own text may be an error, too."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001  (as above)
        text = ""
    text = text.encode("utf-8", "replace").decode()[:_SHOWN]
    return f"{_name(error)}: {text}" if text else _name(error)


def _short(step: object) -> str:
    """A key or an index for people."""
    try:
        text = repr(step)
    except (Exception, SystemExit):  # noqa: BLE001  (a key's repr is the user's code, and some have too many digits)
        text = _name(step)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
