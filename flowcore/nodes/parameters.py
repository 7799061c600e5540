"""The annotations of a function's parameters, as checks of what it is given.

In: a function. Out: for each parameter that is annotated, a reader: it makes a value what the
annotation says, as pydantic does by default (lax), or tells what is wrong with it. Not here: which
parameter gets which value (engine.attempts.binding), errors of nodes (engine.attempts.coercion),
what is returned (engine.attempts.output_validation).

An annotation that pydantic cannot read is no contract: the value is passed as it is. So are values
for parameters without one. What is read once per function stays in the process.

Values come as plain data: a date is a text, a tuple is a list. Types that are strict about that
are asked as pydantic asks them of JSON, where they take what JSON has for them.
"""

import functools
import inspect
import json
import re
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import GenericAlias, UnionType
from typing import Annotated, Any, NotRequired, Required, Union, get_args, get_origin

import typing_extensions
from pydantic import TypeAdapter, ValidationError

from flowcore.nodes.signature import remembered, signature_of

__all__ = ["Parameters", "Reader", "Refused", "Wrong", "parameters_of"]

#: Values of exactly these are what a parameter of that type takes, unchanged.
_PLAIN = frozenset({str, int, float, bool, bytes, list, dict})

#: Annotations that say nothing.
_SILENT: tuple[Any, ...] = (Any, object, inspect.Parameter.empty)

#: The text that a ``timedelta`` travels as: see docs/reference/values.md.
_SECONDS = re.compile(r"(-?)([0-9]+)(?:\.([0-9]{1,9}))?s")

_Keys = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is wrong with a value.

    Attributes:
        path: Where in the value, as pydantic has it.
        what: A sentence without a full stop.
        value: What stands there.
    """

    path: _Keys
    what: str
    value: Any

    def at(self, name: str) -> str:
        """The sentence, with the place under a parameter's name."""
        return f"{'.'.join(map(str, (name, *self.path)))}: {self.what}"


class Refused(Exception):  # noqa: N818  (never leaves this module's callers)
    """A value is not what an annotation says."""

    def __init__(self, wrong: list[Wrong]) -> None:
        """Keep what is wrong."""
        super().__init__()
        self.wrong = wrong


class Reader:
    """Reads values of one parameter."""

    __slots__ = ("_adapter", "_default", "annotation", "exact")

    def __init__(self, annotation: Any, adapter: TypeAdapter[Any], *, default: Any) -> None:
        """Read by ``adapter``, which was made of ``annotation``; a default is taken as it is."""
        self.annotation = annotation
        self._adapter = adapter
        self.exact = annotation if isinstance(annotation, type) and annotation in _PLAIN else None
        self._default = default

    def read(self, value: Any) -> Any:
        """Return the value as the annotation has it.

        Raises:
            Refused: It cannot be that.
            Exception: What a validator of the user's raises that pydantic lets through.
        """
        if type(value) is self.exact or value is self._default:
            return value
        try:
            return self._validated(value)
        except ValidationError as error:
            return self._read_again(value, error)

    def wrong(self, value: Any) -> list[Wrong]:
        """Return the problems of a value; empty if there are none."""
        try:
            self.read(value)
        except Refused as refused:
            return refused.wrong
        return []

    def _validated(self, value: Any) -> Any:
        # A model that a node returns is stored under the names of its fields, whatever its aliases.
        return self._adapter.validate_python(value, by_alias=True, by_name=True)

    def _read_again(self, value: Any, error: ValidationError) -> Any:
        """Read what only travelled as something else; else tell what was wrong at first."""
        met = error.errors(include_url=False, include_context=False)
        travelled, computed = value, value
        for one in met:
            if one["type"].startswith("time_delta") and isinstance(one["input"], str):
                travelled = _replaced(travelled, one["loc"], _duration(one["input"]))
            elif one["type"] == "extra_forbidden":
                computed = _replaced(computed, one["loc"], _GONE)
        try:
            if travelled is not value:
                return self._validated(travelled)
            if computed is not value:
                made = self._validated(computed)
                # Fields that a model computes are stored with it, and are no fields to give.
                if self._adapter.dump_python(made, mode="json") == value:
                    return made
            return self._adapter.validate_json(json.dumps(value), by_alias=True, by_name=True)
        except (ValidationError, TypeError, ValueError, RecursionError):  # also what is no JSON
            raise Refused(
                [
                    Wrong(path=one["loc"], what=_sentence(one["msg"]), value=one["input"])
                    for one in met
                ]
            ) from None


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:]


def _duration(text: str) -> timedelta | str:
    match = _SECONDS.fullmatch(text)
    if match is None:
        return text
    sign = -1 if match[1] else 1
    micros = int(f"{match[3] or '':0<6}"[:6])
    try:
        return sign * timedelta(seconds=int(match[2]), microseconds=micros)
    except OverflowError:
        return text


#: In the place of a value: none, and no key for it.
_GONE = object()


def _replaced(value: Any, path: _Keys, new: Any) -> Any:
    """A copy with another value at a place; what is no key of the value is a name of pydantic's."""
    if not path:
        return new
    first, rest = path[0], path[1:]
    if isinstance(value, dict) and first in value:
        inner = _replaced(value[first], rest, new)
        others = {key: one for key, one in value.items() if key != first}
        return others if inner is _GONE else {**value, first: inner}
    if isinstance(value, list) and isinstance(first, int) and first < len(value):
        return [*value[:first], _replaced(value[first], rest, new), *value[first + 1 :]]
    return _replaced(value, rest, new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The readers of a function's parameters.

    Attributes:
        readers: By the parameter's name; parameters without a check are not there.
        more: Of further keyword arguments.
        positional: Parameters that are given by place.
    """

    readers: Mapping[str, Reader]
    more: Reader | None
    positional: tuple[str, ...]

    def reader(self, name: str) -> Reader | None:
        """The reader of an argument."""
        return self.readers.get(name, self.more)

    def read(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], list[str]]:
        """Read the arguments of a call.

        Args:
            args: By place, of positional-only parameters.
            kwargs: By name; changed in place.

        Returns:
            Both, and sentences about what is wrong with them.
        """
        wrong: list[str] = []
        readers, more = self.readers, self.more
        for name, value in kwargs.items():
            reader = readers.get(name, more)
            # Here, too: most values are of the very type, and most calls short.
            if reader is not None and type(value) is not reader.exact:
                kwargs[name] = _told(reader, name, value, wrong)
        if args:
            placed = list(args)
            for at, name in enumerate(self.positional[: len(placed)]):
                if (reader := self.readers.get(name)) is not None:
                    placed[at] = _told(reader, name, placed[at], wrong)
            args = tuple(placed)
        return args, kwargs, wrong


def _told(reader: Reader, name: str, value: Any, wrong: list[str]) -> Any:
    try:
        return reader.read(value)
    except Refused as refused:
        wrong.extend(one.at(name) for one in refused.wrong)
        return value


@remembered
def parameters_of(function: Callable[..., Any]) -> Parameters | None:
    """Read the annotations of a function; None if nothing that it is given needs a look."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    contexts = signature_of(function).context
    readers: dict[str, Reader] = {}
    more: Reader | None = None
    for parameter in parameters:
        if parameter.name in contexts or parameter.kind is parameter.VAR_POSITIONAL:
            continue
        reader = _reader(parameter, function)
        if parameter.kind is parameter.VAR_KEYWORD:
            more = reader
        elif reader is not None:
            readers[parameter.name] = reader
    if not readers and more is None:
        return None
    return Parameters(readers=readers, more=more, positional=signature_of(function).positional)


def _reader(parameter: inspect.Parameter, function: Callable[..., Any]) -> Reader | None:
    annotation = _meant(parameter.annotation, function)
    if any(annotation is silent for silent in _SILENT):
        return None
    adapter = _adapter(annotation)
    if adapter is None:
        return None
    return Reader(annotation, adapter, default=parameter.default)


def _meant(annotation: Any, function: Callable[..., Any]) -> Any:
    """An annotation with the names in it resolved; Any if that cannot be done."""
    if annotation is inspect.Parameter.empty:
        return annotation

    def carrier() -> None: ...

    carrier.__annotations__ = {"it": annotation}
    try:
        return typing.get_type_hints(carrier, globalns=_names(function), include_extras=True)["it"]
    except Exception:  # noqa: BLE001  (an annotation may be anything; then it is no contract)
        return Any


def _names(function: Callable[..., Any]) -> dict[str, Any]:
    """The names of the module that a function was written in."""
    told: Any = inspect.unwrap(function)
    while isinstance(told, functools.partial):
        told = inspect.unwrap(told.func)
    if isinstance(told, type):
        return dict(vars(sys.modules.get(told.__module__, typing)))
    if not hasattr(told, "__globals__"):
        told = inspect.unwrap(type(told).__call__)
    found = getattr(told, "__globals__", {})
    return found if isinstance(found, dict) else {}


def _adapter(annotation: Any) -> TypeAdapter[Any] | None:
    try:
        return _adapter_once(annotation)
    except TypeError:  # what cannot be hashed: Annotated with a list
        return _made(annotation)


@functools.lru_cache(maxsize=4096)
def _adapter_once(annotation: Any) -> TypeAdapter[Any] | None:
    return _made(annotation)


def _made(annotation: Any) -> TypeAdapter[Any] | None:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(_readable(annotation))
        if not adapter.pydantic_complete:
            adapter.rebuild()
    except Exception:  # noqa: BLE001  (what pydantic cannot read is no contract)
        return None
    return adapter if adapter.pydantic_complete else None


def _readable(annotation: Any) -> Any:
    """An annotation in terms that pydantic reads as they are meant here.

    Lists stand for iterables, which pydantic would give once only. Before Python 3.12 it does not
    read ``typing.TypedDict``, but the same of ``typing_extensions``.
    """
    origin, args = get_origin(annotation), get_args(annotation)
    if typing.is_typeddict(annotation):
        return annotation if sys.version_info >= _READS_TYPED_DICTS else _typed_dict(annotation)
    if origin is Iterable and args:
        return list[_readable(args[0])]  # type: ignore[misc]  # a type that is made here
    if origin is Annotated:
        return Annotated[_readable(args[0]), *annotation.__metadata__]
    if origin in {Union, UnionType}:
        return Union[tuple(map(_readable, args))]  # noqa: UP007  (made of a tuple)
    if isinstance(origin, type):
        inner = tuple(map(_readable, args))
        return annotation if inner == args else GenericAlias(origin, inner)
    return annotation


def _typed_dict(annotation: Any) -> Any:
    fields = {
        name: (Required if name in annotation.__required_keys__ else NotRequired)[_readable(said)]
        for name, said in typing.get_type_hints(annotation).items()
    }
    # The functional form, by another name: type checkers want it written out.
    made = typing_extensions.TypedDict
    return made(annotation.__name__, fields)  # type: ignore[operator]


#: The first Python whose own ``TypedDict`` pydantic reads.
_READS_TYPED_DICTS = (3, 12)
