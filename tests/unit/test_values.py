"""The table of values: what each type becomes, what is refused, and where that is said."""

import json
import random
from collections import UserList, deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from flowcore.errors import UnsupportedValueError
from flowcore.json_text import json_text, json_value
from flowcore.run.values import DEEPEST, plain_value
from flowcore.run.wire import COMBINED, pack, unpack
from tests.deep import count
from tests.integration.modules import value_nodes as nodes

ONE = UUID(int=1)


class Weird:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@dataclass(frozen=True)
class Holds:
    inner: Any


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        (None, None),
        (True, True),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        (0.5, 0.5),
        ("é\x00", "é\x00"),
        (b"\xff", b"\xff"),
        (bytearray(b"a"), b"a"),
        (memoryview(b"abcd")[::2], b"ac"),
        (date(2026, 3, 1), "2026-03-01"),
        (time(4, 5, 6, 7), "04:05:06.000007"),
        (datetime.fromisoformat("2026-03-01T04:05:00"), "2026-03-01T04:05:00"),
        (datetime(2026, 3, 1, 4, 5, tzinfo=UTC), "2026-03-01T04:05:00Z"),
        (
            datetime(2026, 3, 1, tzinfo=timezone(timedelta(hours=-3))),
            "2026-03-01T00:00:00-03:00",
        ),
        (timedelta(days=28, seconds=7), "2419207s"),
        (timedelta(microseconds=-1), "-0.000001s"),
        (timedelta(0), "0s"),
        (Decimal("1.50"), "1.50"),
        (ONE, str(ONE)),
        (PurePosixPath("/a"), "/a"),
        (nodes.Colour.RED, "red"),
        (nodes.Kind.GOOD, "good"),
        (nodes.Level.HIGH, 3),
        ((1, (2,)), [1, [2]]),
        (nodes.Pair(1, 2), [1, 2]),
        (deque([1]), [1]),
        (UserList([1]), [1]),
        (range(3), [0, 1, 2]),
        ({"b": 1, "a": 2}.keys(), ["b", "a"]),
        ({"b": 1}.items(), [["b", 1]]),
        ({date(2026, 1, 2): {ONE: 1}}, {"2026-01-02": {str(ONE): 1}}),
        ({nodes.Kind.GOOD: 1}, {"good": 1}),
        (nodes.Row([nodes.Row(date(2026, 1, 2))]), {"cell": [{"cell": "2026-01-02"}]}),
        (nodes.Model(cell=1), {"cell": 1, "day": "2026-01-02"}),
        (np.int64(5), 5),
        (np.float32(0.5), 0.5),
        (np.bool_(False), False),
        (np.array(7), 7),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.datetime64("2026-01-02T03:04:05.000000006"), "2026-01-02T03:04:05.000000006"),
        (np.array(["2026-01-02"], dtype="datetime64[D]"), ["2026-01-02"]),
    ],
)
def test_each_type_becomes_what_the_table_says(value: Any, becomes: Any) -> None:
    for shaped, wanted in ((value, becomes), ({"k": [value]}, {"k": [becomes]})):
        found = unpack(pack(shaped))
        assert found == wanted
        assert json_text(found) == json_text(wanted)  # a bool is no number


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_kept_and_are_null_in_json(number: float) -> None:
    assert repr(unpack(pack([number]))) == repr([number])
    assert json_text({"a": number, "b": b"\xff"}) == '{"a": null, "b": "/w=="}'


@pytest.mark.parametrize(("value", "said"), nodes.REFUSED)
def test_what_is_refused_is_named_with_its_place_and_a_way_out(value: Any, said: str) -> None:
    with pytest.raises(UnsupportedValueError) as error:
        pack(value, what="output of node 'a'")
    assert str(error.value).startswith("output of node 'a'")
    assert said in str(error.value)
    assert "; " in str(error.value)


def test_an_object_that_breaks_is_refused_as_any_other() -> None:
    for value in (Weird(), [Weird()], {"a": Holds(Weird())}, {Weird(): 1}):
        with pytest.raises(UnsupportedValueError):
            pack(value)


def test_an_attrs_class_becomes_a_map() -> None:
    attrs = pytest.importorskip("attrs")
    made = attrs.make_class("Made", ["left", "right"])
    assert unpack(pack(made(1, date(2026, 1, 2)))) == {"left": 1, "right": "2026-01-02"}


@pytest.mark.parametrize("kind", [list, dict])
def test_depth_is_bounded_alike_for_plain_data_and_for_what_becomes_it(kind: type) -> None:
    def nested(levels: int, leaf: Any) -> Any:
        for _ in range(levels):
            leaf = [leaf] if kind is list else {"k": leaf}
        return leaf

    for leaf in ("plain", date(2026, 1, 2)):
        unpack(pack(nested(DEEPEST, leaf)))
        with pytest.raises(UnsupportedValueError, match="nested deeper than 255 levels"):
            pack(nested(DEEPEST + 1, leaf))
        inside = pack(nested(COMBINED, leaf), deepest=COMBINED)
        assert json.loads(json_text(unpack(inside)))
    with pytest.raises(UnsupportedValueError, match="holds itself"):
        pack(nodes.itself())


def test_what_is_accepted_is_the_same_whichever_way_it_is_packed() -> None:
    dice = random.Random(11)
    for _ in range(count(500, 5_000)):
        value = nodes.a_value(dice)
        plain = plain_value(value, what="it")
        packed = pack(value)
        assert packed == pack(plain)
        assert pack(unpack(packed)) == packed
        assert json.loads(json_text(plain)) == json_value(plain)


def test_a_foreign_thing_anywhere_is_refused_at_its_place() -> None:
    dice = random.Random(12)
    for _ in range(count(200, 5_000)):
        bad, said = dice.choice(nodes.REFUSED)
        value, path = bad, ""
        for _ in range(dice.randrange(4)):
            before = [nodes.a_value(dice, 1) for _ in range(dice.randrange(3))]
            if dice.random() < 0.5:
                value, path = [*before, value], f"[{len(before)}]{path}"
            else:
                value, path = {"k": before, "deep": value}, f"['deep']{path}"
        with pytest.raises(UnsupportedValueError) as error:
            pack(value, what="output of node 'n'")
        assert str(error.value).startswith(f"output of node 'n'{path}")
        assert said in str(error.value)


def test_json_text_never_breaks_the_line_it_is_in() -> None:
    assert json_text("\ud800") == '"\\ud800"'
    assert json_text({"é": {2, 1}}, compact=True) == '{"é":[1,2]}'
    assert json.loads(json_text({1: nodes.Row(float("nan")), None: 1})) == {
        "1": {"cell": None},
        "null": 1,
    }
