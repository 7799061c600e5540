"""Parameters get what their annotations say, as pydantic has it, or refuse it by its place."""

import functools
import inspect
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional, TypedDict, TypeVar
from uuid import UUID

import pytest
import typing_extensions
from annotated_types import Ge, Len
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    StrictInt,
    TypeAdapter,
    ValidationError,
    computed_field,
    field_validator,
)

from flowcore import Context, node
from flowcore.errors import UnsupportedValueError
from flowcore.nodes.parameters import Parameters, Refused, parameters_of
from flowcore.run.values import plain_value
from tests.deep import count


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Line(BaseModel):
    sku: str
    price: Decimal = Decimal(0)
    due: date | None = None


class Order(BaseModel):
    id: int
    lines: list[Line] = []
    after: timedelta = timedelta(0)


class Named(BaseModel):
    """A model with other names outside than inside; without ``by_name`` a stored one is lost."""

    count: int = Field(0, alias="itemCount")


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    day: date
    key: UUID


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    side: int

    @computed_field
    def area(self) -> int:
        return self.side * self.side


class Words(RootModel[list[str]]): ...


@dataclass
class Point:
    x: int
    y: float = 0.0
    wait: timedelta = timedelta(0)


@dataclass(frozen=True)
class Shape:
    points: list[Point]
    colour: Colour = Colour.RED
    tags: dict[str, str] = field(default_factory=dict)


class Row(typing_extensions.TypedDict):
    name: str
    when: datetime


class Pair(NamedTuple):
    left: int
    right: str = ""


def _function(annotation: Any, default: Any = inspect.Parameter.empty) -> Callable[..., Any]:
    def taking(x: Any = None) -> Any:
        return x

    taking.__annotations__ = {"x": annotation}
    if default is inspect.Parameter.empty:
        taking.__defaults__ = ()
    else:
        taking.__defaults__ = (default,)
    return taking


def _read(annotation: Any, value: Any) -> Any:
    parameters = parameters_of(_function(annotation))
    if parameters is None:
        return value
    return parameters.readers["x"].read(value)


# ── any annotation, any value ───────────────────────────────────────────────────────────────────


def _plain_fold(made: Any) -> Any:
    """Text has no word for the second of two equal hours."""
    return made.replace(fold=0)


#: Annotations with what makes values of them in Python.
TYPES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers(-(2**63), 2**63)),
    (str, st.text()),
    (float, st.floats()),
    (bool, st.booleans()),
    (bytes, st.binary()),
    (type(None), st.none()),
    (date, st.dates()),
    (datetime, st.datetimes(timezones=st.sampled_from([None, UTC])).map(_plain_fold)),
    (time, st.times().map(_plain_fold)),
    (timedelta, st.timedeltas(timedelta(-9999), timedelta(9999))),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False, places=3)),
    (UUID, st.uuids()),
    (Path, st.sampled_from([Path("a/b"), Path("/x y")])),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Literal["a", "b", 3], st.sampled_from(["a", "b", 3])),
    (Annotated[int, Ge(0)], st.integers(0, 99)),
    (Annotated[list[int], Len(1, 2)], st.lists(st.integers(0, 9), min_size=1, max_size=2)),
    (Order, st.builds(Order, after=st.timedeltas(timedelta(-9), timedelta(9)))),
    (Strict, st.builds(Strict)),
    (Computed, st.builds(Computed, side=st.integers(0, 9))),
    (Named, st.builds(Named, itemCount=st.integers(0, 9))),
    (Words, st.lists(st.text(), max_size=2).map(Words)),
    (Point, st.builds(Point, wait=st.timedeltas(timedelta(-9), timedelta(9)))),
    (Shape, st.builds(Shape, points=st.lists(st.builds(Point), max_size=2))),
    (Row, st.fixed_dictionaries({"name": st.text(), "when": st.datetimes().map(_plain_fold)})),
    (Pair, st.builds(Pair)),
]

Typed = tuple[Any, st.SearchStrategy[Any]]


def _around(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    def one(make: Callable[[Any, st.SearchStrategy[Any]], Typed]) -> st.SearchStrategy[Typed]:
        return inner.map(lambda typed: make(*typed))

    return st.one_of(
        one(lambda of, made: (GenericAlias(list, of), st.lists(made, max_size=2))),
        one(lambda of, made: (GenericAlias(Sequence, of), st.lists(made, max_size=2))),
        one(lambda of, made: (GenericAlias(deque, of), st.lists(made, max_size=2).map(deque))),
        one(
            lambda of, made: (GenericAlias(tuple, (of, ...)), st.lists(made, max_size=2).map(tuple))
        ),
        one(lambda of, made: (GenericAlias(dict, (str, of)), _maps(st.text(max_size=3), made))),
        one(lambda of, made: (GenericAlias(dict, (date, of)), _maps(st.dates(), made))),
        one(lambda of, made: (Optional[of], st.none() | made)),  # noqa: UP045  (made of a value)
    )


def _maps(
    keys: st.SearchStrategy[Any], values: st.SearchStrategy[Any]
) -> st.SearchStrategy[dict[Any, Any]]:
    return st.dictionaries(keys, values, max_size=2)


TYPED: st.SearchStrategy[Typed] = st.recursive(st.sampled_from(TYPES), _around, max_leaves=3)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats()
    | st.binary(max_size=3)
    | st.sampled_from(["5", "a", "red", "2026-03-01", "1.5", "yes", "90s", "", "b3", "x" * 40]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "x", "sku", "side", "left", "1", "2026-03-01"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def _said(call: Callable[[], Any]) -> Any:
    try:
        return repr(call())
    except (ValidationError, Refused):
        return ValidationError


@pytest.mark.deep
@settings(max_examples=count(100, 10_000), deadline=None)
@given(TYPED, st.sampled_from(TYPES), st.booleans(), PLAIN)
def test_a_plain_value_becomes_what_pydantic_makes_of_it(
    typed: Typed, other: Typed, either: bool, value: Any
) -> None:
    annotation = typed[0] | other[0] if either and isinstance(other[0], type) else typed[0]
    adapter = _adapter(annotation)
    said = _said(lambda: adapter.validate_python(value, by_alias=True, by_name=True))
    found = _said(lambda: _read(annotation, value))
    if said is ValidationError and found is not said:
        # Only what travels as text may be more than that.
        assert "timedelta" in found or any(strict in repr(annotation) for strict in ("Strict",))
    else:
        assert found == said


@pytest.mark.deep
@settings(max_examples=count(100, 10_000), deadline=None)
@given(TYPED, st.data())
def test_what_a_node_returns_of_a_type_a_parameter_of_that_type_gets(
    typed: Typed, data: st.DataObject
) -> None:
    annotation, made = typed
    value = data.draw(made)
    try:
        travelled = plain_value(value, what="output")
    except UnsupportedValueError:
        reject()
    found, said = _read(annotation, travelled), _as_pydantic_has_it(annotation, value)
    # Pydantic has a time zone of its own, which prints otherwise.
    assert repr(found).replace("TzInfo(0)", repr(UTC)) == repr(said)


def _as_pydantic_has_it(annotation: Any, value: Any) -> Any:
    """The value itself, in the containers that pydantic makes."""
    return _adapter(annotation).validate_python(value, by_alias=True, by_name=True)


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


# ── rules ───────────────────────────────────────────────────────────────────────────────────────

T = TypeVar("T")


class Connection:
    """What pydantic knows nothing of."""


@pytest.mark.parametrize(
    "annotation",
    [Any, object, T, Connection, list[Connection], "Nowhere", "list[Nowhere]", 3, "not a type ("],
    ids=repr,
)
def test_a_value_is_passed_as_it_is_where_pydantic_knows_no_such_type(annotation: Any) -> None:
    value = {"a": [1]}
    assert _read(annotation, value) is value


@pytest.mark.parametrize("value", ["text", 3, 1.5, True, b"x", [1], {"a": 1}], ids=repr)
def test_a_value_of_the_very_type_is_the_very_value(value: Any) -> None:
    assert _read(type(value), value) is value


@pytest.mark.parametrize("default", [None, "unset", Colour])
def test_a_default_is_taken_whatever_the_annotation_says(default: Any) -> None:
    parameters = parameters_of(_function(int, default))
    assert parameters is not None
    assert parameters.readers["x"].read(default) is default


def test_an_iterable_is_a_list_that_can_be_gone_through_twice() -> None:
    assert _read(Iterable[int], ["1", 2]) == [1, 2]
    assert _read(Iterable[int] | None, ["1"]) == [1]
    assert _read(Annotated[Iterable[int], Len(1)], ["1"]) == [1]


class Plain(TypedDict):
    """Of ``typing``, which pydantic itself does not read before Python 3.12."""

    name: "str"
    when: NotRequired[date]


def test_a_typed_dict_of_either_module_is_read() -> None:
    day = date(2026, 3, 1)
    assert _read(list[Plain], [{"name": "a", "when": "2026-03-01"}]) == [{"name": "a", "when": day}]
    assert _read(Plain | None, {"name": "a"}) == {"name": "a"}
    assert _read(Row, {"name": "a", "when": "2026-03-01"})["when"] == datetime(2026, 3, 1)  # noqa: DTZ001
    with pytest.raises(Refused):
        _read(Plain, {"when": "2026-03-01"})


def test_a_model_is_read_by_its_fields_names_and_by_its_aliases() -> None:
    assert _read(Named, {"count": 7}).count == 7
    assert _read(Named, {"itemCount": 7}).count == 7


def test_a_strict_type_takes_what_only_travels_as_text_and_nothing_else() -> None:
    key = "12345678123456781234567812345678"
    assert _read(Strict, {"day": "2026-03-01", "key": key}) == Strict(
        day=date(2026, 3, 1), key=UUID(key)
    )
    with pytest.raises(Refused):
        _read(StrictInt, "5")


def test_a_computed_field_is_taken_as_it_was_computed_only() -> None:
    assert _read(list[Computed], [{"side": 3, "area": 9}]) == [Computed(side=3)]
    for wrong in ({"side": 3, "area": 8}, {"side": 3, "other": 9}):
        with pytest.raises(Refused):
            _read(Computed, wrong)


def _by_name(order: "Order", when: "date | None" = None) -> None: ...


async def _later(order: Order, when: date) -> None: ...


def _each(order: Order, when: date) -> Iterable[int]:
    yield 1


class Callee:
    def __call__(self, order: Order, when: "date") -> None: ...

    def method(self, order: "Order", when: date) -> None: ...

    @staticmethod
    def static(order: "Order", when: date) -> None: ...


@functools.wraps(_by_name)
def _wrapped(*args: Any, **kwargs: Any) -> None: ...


def _bound(first: int, order: "Order", when: date) -> None: ...


def _by_place(order: Order, /, when: date) -> None: ...


class Made:
    def __init__(self, order: "Order", when: date) -> None: ...


FORMS: dict[str, Any] = {
    "function": _by_name,
    "async": _later,
    "generator": _each,
    "instance": Callee(),
    "bound method": Callee().method,
    "static method": Callee.static,
    "wrapped": _wrapped,
    "class": Made,
    "by place": _by_place,
    "partial": functools.partial(_bound, 1),
    "node": node(_by_name),
    "node with options": node(retry={"max_attempts": 2})(_later),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_function_has_its_parameters_read(form: str) -> None:
    function = FORMS[form]
    parameters = parameters_of(function)
    assert parameters is not None
    args, kwargs, wrong = parameters.read((), {"order": {"id": "5"}, "when": "2026-03-01"})
    assert (args, wrong) == ((), [])
    assert kwargs == {"order": Order(id=5), "when": date(2026, 3, 1)}


def test_what_is_given_by_place_is_read_too() -> None:
    parameters = parameters_of(_by_place)
    assert parameters is not None
    args, _, wrong = parameters.read(({"id": "5"},), {"when": "soon"})
    assert args == (Order(id=5),)
    assert wrong == ["when: input should be a valid date or datetime, input is too short"]


def test_further_keyword_arguments_are_read_by_the_annotation_of_all_of_them() -> None:
    def taking(**amounts: int) -> None: ...

    parameters = parameters_of(taking)
    assert parameters is not None
    assert parameters.read((), {"a": "5", "b": "x"})[1] == {"a": 5, "b": "x"}
    assert parameters.read((), {"b": "x"})[2] == [
        "b: input should be a valid integer, unable to parse string as an integer"
    ]


def test_one_annotation_that_cannot_be_read_leaves_the_others() -> None:
    def taking(a: "Nowhere", b: "int", ctx: Context, c, *rest: int) -> None: ...  # type: ignore[no-untyped-def,name-defined]  # noqa: ANN001, F821

    parameters = parameters_of(taking)
    assert parameters is not None
    assert set(parameters.readers) == {"b"}


def _untyped(a, b=1, *, ctx) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001


def _anything(a: Any, ctx: Context, **more: Any) -> None: ...


@pytest.mark.parametrize("function", [_untyped, _anything, len, min, dict.get])
def test_a_function_with_nothing_to_check_has_no_check(function: Any) -> None:
    assert parameters_of(function) is None


def test_annotations_are_read_once_per_function() -> None:
    first = parameters_of(_by_name)
    assert isinstance(first, Parameters)
    assert parameters_of(_by_name) is first


class Picky(BaseModel):
    code: str

    @field_validator("code")
    @classmethod
    def _known(cls, code: str) -> str:
        if code == "crash":
            raise KeyError(code)
        if code != "ok":
            raise ValueError("no such code")
        return code


def test_the_words_of_a_users_validator_are_told() -> None:
    parameters = parameters_of(_function(list[Picky]))
    assert parameters is not None
    told = parameters.read((), {"x": [{"code": "ok"}, {"code": "no"}]})[2]
    assert told == ["x.1.code: value error, no such code"]
