"""What travels comes back the same, and what cannot travel is named with its place."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel

from flowcore.errors import UnsupportedValueError
from flowcore.run.wire import pack, unpack


class Model(BaseModel):
    day: str = "today"


@dataclass
class Row:
    cell: Any = None
    notes: list[str] = field(default_factory=list)


def _itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "back"),
    [
        ({"a": [1, -(2**63), 2**64 - 1, 0.5, None, True, "é", b"\xff"]}, None),
        ({1: "a", None: "b", 1.5: "c", b"k": "d"}, None),
        ((1, (2,)), [1, [2]]),
        ([Model(), Row(cell={"x": Row()})], [
            {"day": "today"},
            {"cell": {"x": {"cell": None, "notes": []}}, "notes": []},
        ]),
    ],
)  # fmt: skip
def test_plain_data_comes_back(value: Any, back: Any) -> None:
    assert unpack(pack(value)) == (value if back is None else back)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (2**70, "it is a whole number of more than 64 bits"),
        ([10**5000], "it[0] is a whole number of more than 64 bits"),
        ({"a": ["b", "\ud800"]}, "it['a'][1] holds half of a surrogate pair"),
        ({"\ud800": 1}, "a key of it holds half of a surrogate pair"),
        ({"a": {(1, 2): 3}}, "it['a'] has a tuple as a key, (1, 2)"),
        ({(): 3}, "it has a tuple as a key, ()"),
        ([{1, 2}], "it[0] is a set, which cannot be stored"),
        ([Row(cell={1})], "it[0]['cell'] is a set"),
        (_itself(), "is nested too deeply (or holds itself)"),
    ],
)
def test_what_cannot_travel_is_named_with_its_place(value: Any, place: str) -> None:
    with pytest.raises(UnsupportedValueError) as error:
        pack(value, what="it")
    assert place in str(error.value)
    assert str(error.value).endswith("; use plain data (numbers, text, lists, maps)")
