"""Nodes that give random values of the table of values, and tell what they were given."""

import random
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from pydantic import BaseModel

from flowcore import Context
from flowcore.run.wire import pack


class Colour(Enum):
    RED = "red"


class Kind(StrEnum):
    GOOD = "good"


class Level(IntEnum):
    HIGH = 3


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass
class Row:
    cell: Any


class Model(BaseModel):
    cell: Any
    day: date = date(2026, 1, 2)


_TEXTS = ["", "a", "é", "😀 ${{ x }}", "nul\x00", "\x1b[31m", "\u202e", "null", "0.10", "x" * 300]
_NUMBERS = [0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1]
_FLOATS = [0.0, -0.0, 0.1, 1e300, -5e-324, float("nan"), float("inf"), float("-inf"), 3.0]


def _leaf(dice: random.Random) -> Any:
    moment = datetime(2026, 3, 1, 4, 5, 6, dice.choice([0, 7, 120000]))  # noqa: DTZ001  (naive)
    return dice.choice(
        [
            None,
            True,
            False,
            dice.choice(_NUMBERS),
            dice.randrange(-(10**6), 10**6),
            dice.choice(_FLOATS),
            dice.random(),
            dice.choice(_TEXTS),
            dice.choice(_TEXTS) + str(dice.random()),
            dice.randbytes(dice.randrange(9)),
            bytearray(b"b"),
            memoryview(b"abcdef")[::2],
            date(2026, 2, dice.randrange(1, 29)),
            time(1, 2, 3),
            moment,
            moment.replace(tzinfo=UTC),
            moment.replace(tzinfo=timezone(timedelta(hours=5, minutes=30))),
            timedelta(days=dice.randrange(-3, 3), microseconds=dice.randrange(5)),
            Decimal("1.50"),
            UUID(int=dice.randrange(2**64)),
            PurePosixPath("/a/é"),
            Colour.RED,
            Kind.GOOD,
            Level.HIGH,
            np.int64(5),
            np.float32(0.5),
            np.bool_(True),
            np.datetime64("2026-01-02T03:04:05.000000006"),
            np.arange(3),
            np.array([[1.5, float("nan")]]),
        ]
    )


def _key(dice: random.Random) -> Any:
    return dice.choice(["a", "b c", "é", "", Kind.GOOD, date(2026, 1, 2), f"k{dice.random()}"])


def a_value(dice: random.Random, depth: int = 3) -> Any:
    """A value that the table accepts."""
    if depth == 0 or dice.random() < 0.4:
        return _leaf(dice)
    inside = [a_value(dice, depth - 1) for _ in range(dice.randrange(4))]
    entries = {_key(dice): one for one in inside}
    makers: list[Any] = [
        lambda: inside,
        lambda: tuple(inside),
        lambda: deque(inside),
        lambda: entries,
        lambda: OrderedDict(entries),
        lambda: defaultdict(list, entries),
        lambda: MappingProxyType(entries),
        entries.values,
        lambda: list(map(str, entries)),
        lambda: Pair(inside[:1], entries),
        lambda: Row(inside),
        lambda: Model(cell=[1, "x"]),
    ]
    return dice.choice(makers)()


def values(seed: int, count: int) -> list[Any]:
    """Values, the same for the same seed."""
    dice = random.Random(seed)
    return [a_value(dice) for _ in range(count)]


def give(seed: int, count: int) -> list[Any]:
    return values(seed, count)


def print_of(value: Any) -> str:
    """All there is to a value, NaN and the order of keys included."""
    return pack(value).hex()


def seen(values: Any) -> list[str]:
    return [print_of(value) for value in values]


def seen_one(value: Any) -> str:
    return print_of(value)


def keep(values: Any, ctx: Context) -> list[str]:
    ctx.memory.set("values", values)
    return [print_of(value) for value in ctx.memory.get("values")]


def recall(ctx: Context) -> list[str]:
    return [print_of(value) for value in ctx.memory.get("values")]


def again(state: Any) -> Any:
    return state


def say(values: Any, ctx: Context) -> int:
    for value in values:
        ctx.emit("value", value=value)
    return len(values)


@dataclass
class Odd:
    cell: Any


#: What the table refuses, with the place in it that the error names.
REFUSED: list[tuple[Any, str]] = [
    ({1: 2}, "has the key 1, of type int"),
    ({"a": [{None: 1}]}, "['a'][0]: has the key None"),
    ([{(1, 2): 3}], "[0]: has the key (1, 2), of type tuple"),
    ({Level.HIGH: 1}, "of type Level, which is not text"),
    ({1.5: 1}, "has the key 1.5"),
    ({b"k": 1}, "of type bytes"),
    ([2**64], "[0]: is a whole number of more than 64 bits"),
    (-(2**63) - 1, "is a whole number of more than 64 bits"),
    ({"a": "\ud800"}, "['a']: holds half of a surrogate pair"),
    ({"\udfff": 1}, "holds half of a surrogate pair"),
    (PurePosixPath("/\udcff"), "holds half of a surrogate pair"),
    ([{1, 2}], "[0]: is a set, which has no order; give sorted(…) or list(…)"),
    (frozenset("ab"), "is a frozenset, which has no order"),
    ([object()], "[0]: is a object, which cannot be kept"),
    ([1 + 2j], "[0]: is a complex, which cannot be kept"),
    ([iter([1])], "[0]: is a list_iterator, which cannot be kept; give list(…)"),
    (Row([Odd(len)]), "['cell'][0]['cell']: is a builtin_function_or_method"),
    (int, "is a type, which cannot be kept; give its name"),
    ({Colour.RED: 1, "red": 2}, "has two keys that are 'red' as text"),
    (range(10**12), "is a range of more than 10,000,000 numbers"),
    (np.array([1 + 2j]), "is numpy's complex128"),
    (np.timedelta64(5, "ns"), "is numpy's timedelta64[ns]"),
]


def refused(at: int) -> Any:
    return REFUSED[at][0]


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


def itself() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def logged(item: str, log: str, mended: str, fail: str) -> str:
    """Write down that an item was done; one fails until it is mended."""
    with Path(log).open("a") as file:
        file.write(f"{item}\n")
    if item == fail and not Path(mended).exists():
        raise ValueError(item)
    return item


def called(keys: list[str], log: str) -> list[str]:
    with Path(log).open("a") as file:
        file.write("called\n")
    return keys
