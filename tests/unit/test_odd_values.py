"""Values of classes that nobody expects: kept as the table says, or refused by name and place."""

import enum
import itertools
import types
from collections import UserString
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from flowcore.errors import NodeTimeoutError, UnsupportedValueError
from flowcore.run.wire import pack, unpack

#: What a method of a class may do, but for never coming back.
TROUBLE = [
    ValueError("no"),
    SystemExit(3),
    RecursionError(),
    StopIteration(),
    KeyError("\ud800"),
    MemoryError(),
]


def _class(base: type, method: str, does: Any, *args: Any) -> Any:
    """Return a value of a class of that base, one method of which does something else."""
    made = types.new_class("Odd", (base,), exec_body=lambda names: names.update({method: does}))
    return made(*args)


def _raises(error: Any) -> Any:
    def method(*_: object, **__: object) -> Any:
        raise error

    return method


METHODS: list[tuple[type, str, tuple[Any, ...]]] = [
    (list, "__iter__", ([1],)),
    (list, "__len__", ([1],)),
    (tuple, "__iter__", ((1,),)),
    (dict, "__iter__", ({"a": 1},)),
    (dict, "__getitem__", ({"a": 1},)),
    (dict, "__len__", ({"a": 1},)),
    (date, "isoformat", (2026, 1, 1)),
    (datetime, "isoformat", (2026, 1, 1)),
    (time, "isoformat", (1, 2)),
    (timedelta, "__floordiv__", (1,)),
    (Decimal, "__str__", ("1",)),
    (PurePosixPath, "__str__", ("/a",)),
    (UUID, "__str__", (str(UUID(int=1)),)),
    (UserString, "__str__", ("a",)),
    (BaseModel, "model_dump", ()),
    (object, "__getattribute__", ()),
    (object, "__getattr__", ()),
    (object, "tolist", ()),
]


@pytest.mark.parametrize("error", TROUBLE, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize(("base", "method", "args"), METHODS)
def test_a_method_that_fails_is_named_with_the_place(
    base: type, method: str, args: tuple[Any, ...], error: BaseException
) -> None:
    value = _class(base, method, _raises(error), *args)
    with pytest.raises(UnsupportedValueError) as caught:
        pack({"rows": [value]}, what="output of node 'n'")
    assert str(caught.value).startswith("output of node 'n'['rows'][0]")
    assert "Odd" in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize("wrong", [5, None, b"x", [], "\ud800"], ids=range(5))
@pytest.mark.parametrize(
    ("base", "method", "args"),
    [one for one in METHODS if one[1] in {"isoformat", "__str__"} and one[0] is not UserString],
)
def test_a_method_that_gives_another_kind_is_refused(
    base: type, method: str, args: tuple[Any, ...], wrong: object
) -> None:
    with pytest.raises(UnsupportedValueError, match=r"^value\[0\]"):
        pack([_class(base, method, lambda *_: wrong, *args)])


def test_subclasses_are_what_they_are_of_whatever_they_say() -> None:
    broken = _raises(RuntimeError("no"))
    names = "__str__ __repr__ __int__ __float__ __bytes__ __eq__ __hash__ __index__ encode isascii"
    methods = dict.fromkeys(names.split(), broken)
    for base, args, becomes in [
        (str, ("é",), "é"),
        (int, (5,), 5),
        (float, (1.5,), 1.5),
        (bytes, (b"a",), b"a"),
        (bytearray, (b"a",), b"a"),
    ]:
        made = types.new_class("Odd", (base,), exec_body=lambda body: body.update(methods))
        found = unpack(pack([made(*args)]))
        assert found == [becomes]
        assert type(found[0]) is type(becomes)


@pytest.mark.parametrize(
    "claimed", [str, int, float, bytes, dict, list, date, timedelta, Decimal, enum.Enum, BaseModel]
)
def test_what_only_says_that_it_is_of_a_class_is_none_of_it(claimed: type) -> None:
    liar = types.new_class(
        "Liar", exec_body=lambda names: names.update(__class__=property(lambda _: claimed))
    )
    with pytest.raises(UnsupportedValueError, match="is a Liar, which cannot be kept"):
        pack([liar()])


class _Endless(Sequence[int]):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, at: Any) -> Any:
        return at


class _EndlessMap(Mapping[str, int]):
    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[str]:
        return map(str, itertools.count())

    def __getitem__(self, key: str) -> int:
        return 1


class _Growing(list[int]):
    def __iter__(self) -> Iterator[int]:
        for at in itertools.count():
            self.append(at)
            yield at


class _Itself(Sequence[Any]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, at: Any) -> Any:
        return _Itself() if at == 0 else [][at]


def test_what_never_ends_is_refused() -> None:
    for value in (_Endless(), _EndlessMap(), _Growing([1]), _EndlessMap().keys()):
        with pytest.raises(UnsupportedValueError, match="or no end"):
            pack(value)
    with pytest.raises(UnsupportedValueError, match="nested deeper"):
        pack(_Itself())


class _Own(enum.Enum):
    LIST = [1, {"a": (2,)}]  # noqa: RUF012  (an enumeration of what has no hash)
    SET = {1}  # noqa: RUF012


class _Zone(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta:
        raise RuntimeError("no")

    dst = utcoffset

    def tzname(self, _: datetime | None) -> str:
        raise RuntimeError("no")


@dataclass
class _Lazy:
    cell: int

    def __getattribute__(self, name: str) -> Any:
        raise AttributeError(name)


def test_odd_ones_of_the_standard_library() -> None:
    east, west = timezone(timedelta(hours=14)), timezone(timedelta(hours=-12))
    for value, becomes in [
        (datetime(1, 1, 1, tzinfo=east), "0001-01-01T00:00:00+14:00"),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=west), "9999-12-31T23:59:59-12:00"),
        (datetime.max.replace(tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
        (Decimal("sNaN"), "sNaN"),
        (Decimal("1E+999999"), "1E+999999"),
        (timedelta.min, "-86399999913600s"),
        (UserString("é"), "é"),
        ({UserString("é"): 1}, {"é": 1}),
        ("e" + "\u0301" * 1_000, "e" + "\u0301" * 1_000),
        (_Own.LIST, [1, {"a": [2]}]),
    ]:
        assert unpack(pack(value)) == becomes
    for value in (
        10**5_000,
        -(10**5_000),
        {10**5_000: 1},
        _Own.SET,
        datetime(2026, 1, 1, tzinfo=_Zone()),
        _Lazy(1),
        {_Lazy: 1},
    ):
        with pytest.raises(UnsupportedValueError):
            pack(value)


def test_an_end_of_the_attempt_is_no_fault_of_the_value() -> None:
    ended = _class(list, "__iter__", _raises(NodeTimeoutError("after 2s")), [1])
    with pytest.raises(NodeTimeoutError):
        pack([ended])
    stopped = _class(list, "__iter__", _raises(KeyboardInterrupt()), [1])
    with pytest.raises(KeyboardInterrupt):
        pack([stopped])
