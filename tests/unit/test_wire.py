"""What travels comes back the same, and what cannot travel is named with its place."""

import gc
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from flowcore.errors import UnsupportedValueError
from flowcore.run import wire
from flowcore.run.wire import pack, unpack


class Model(BaseModel):
    day: str = "today"


@dataclass
class Row:
    cell: Any = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Point:
    x: int = 0


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Loud(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "loud"


class Exact(float):
    __slots__ = ()


class Raw(bytes):
    __slots__ = ()


class Pair(NamedTuple):
    left: int
    right: int


class Rows(list[Any]):
    pass


def _itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "back"),
    [
        ({"a": [1, -(2**63), 2**64 - 1, 0.5, None, True, "é", b"\xff"]}, None),
        ((1, (2,)), [1, [2]]),
        ([Model(), Row(cell={"x": Row()})], [
            {"day": "today"},
            {"cell": {"x": {"cell": None, "notes": []}}, "notes": []},
        ]),
        ([Colour.RED, Level.HIGH, Loud("a"), Exact(0.5), Raw(b"b")], ["red", 3, "a", 0.5, b"b"]),
        ({Colour.RED: 1, Loud("a"): 3}, {"red": 1, "a": 3}),
        ([Pair(1, 2), Rows([3]), bytearray(b"c"), memoryview(b"d")], [[1, 2], [3], b"c", b"d"]),
        (defaultdict(None, a=OrderedDict(b=MappingProxyType({"c": Point()}))), {
            "a": {"b": {"c": {"x": 0}}},
        }),
    ],
)  # fmt: skip
def test_plain_data_comes_back(value: Any, back: Any) -> None:
    assert unpack(pack(value)) == (value if back is None else back)


_LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary()
_KEYS = st.text()
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(_KEYS, inner, max_size=40),
    max_leaves=200,
)


@pytest.fixture(scope="module")
def in_parts() -> Iterator[None]:
    """Every value counts as large, and a part is small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "LARGE", 0)
        patch.setattr(wire, "_PART", 32)
        yield


@given(value=_VALUES)
def test_a_large_value_decoded_in_parts_is_the_same(in_parts: None, value: Any) -> None:
    assert unpack(pack(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        {"rows": [{"id": number, "name": "x" * number} for number in range(300)]},
        [[[list(range(300))]]],
        {"a": {"b": {"c": {str(number): [number] for number in range(300)}}}},
        ["x" * 10_000, {}, [], {"y": "z" * 10_000}],
        list(range(70_000)),
        dict.fromkeys(map(str, range(70000))),
    ],
    ids=["rows", "nested", "maps", "few and large", "long list", "long map"],
)
def test_large_values_of_every_shape_come_back(in_parts: None, value: Any) -> None:
    assert unpack(pack(value)) == value


def test_what_cannot_travel_is_named_in_a_large_value_too(in_parts: None) -> None:
    with pytest.raises(UnsupportedValueError, match=r"it\[1\]\['a'\]: has the key \(1, 2\)"):
        pack([list(range(100)), {"a": {(1, 2): 3}}], what="it")
    with pytest.raises(UnsupportedValueError, match="nested deeper than 255 levels"):
        pack(_itself(), what="it")


@pytest.mark.parametrize("cut", [1, 5, 100, 150])
def test_a_large_value_that_was_cut_is_never_taken_for_whole(in_parts: None, cut: int) -> None:
    packed = pack({"rows": [[number] for number in range(100)]})
    with pytest.raises((ValueError, IndexError, msgpack.OutOfData)):
        unpack(packed[:-cut])


def test_looking_for_garbage_goes_on_after_a_large_value(in_parts: None) -> None:
    unpack(pack([1]))
    with pytest.raises(UnsupportedValueError):
        pack([{(1,): 2}])
    assert gc.isenabled()
