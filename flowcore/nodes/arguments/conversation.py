"""The arguments of ``memory``: one model for each operation.

In: nothing. Out: the models. Not here: remembering (memory).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import create_model

from flowcore.nodes.arguments.model import UNKNOWN, Arguments, Unfinished
from flowcore.nodes.arguments.values import (
    Kind,
    anything,
    choice,
    duration,
    list_of,
    message_list,
    number,
    text,
    whole,
)

__all__ = ["ANY_OPERATION", "OPERATIONS", "MemoryArguments"]

_TINY = 0.001
_NAMES = ("read", "append", "extend", "recall", "clear", "get", "set", "delete", "facts")


class MemoryArguments(Arguments):
    """Arguments that every operation takes."""

    op: Annotated[str, choice(*_NAMES)] = "read"
    thread: Annotated[str | None, text("the name of a thread", most=500)] = None

    @classmethod
    def chosen(cls, given: Mapping[str, Any]) -> type[Arguments]:
        """The model of the operation; one that is not known yet may be any of them."""
        op = given.get("op")
        if op is None:
            return OPERATIONS["read"]
        if op is UNKNOWN or isinstance(op, Unfinished):
            return ANY_OPERATION
        return OPERATIONS.get(op, ANY_OPERATION) if isinstance(op, str) else ANY_OPERATION

    @classmethod
    def label(cls, uses: str, given: Mapping[str, Any]) -> str:
        """The type and the operation."""
        op = given.get("op", "read")
        return f"{uses} {op!r}" if isinstance(op, str) and op in OPERATIONS else uses


class _Read(MemoryArguments):
    last: Annotated[int | None, whole(1, 10**9)] = None


class _Append(MemoryArguments):
    may_be_null: ClassVar = frozenset({"content"})

    content: Annotated[Any, anything()]
    role: Annotated[str, text("a role, such as user")] = "user"
    name: Annotated[str | None, text("a name")] = None


class _Extend(MemoryArguments):
    messages: Annotated[list[Any], message_list()]


def _query() -> Kind:
    words = text("a text, or a vector")
    vector = list_of(number(-1e30, 1e30), "numbers", least=1)
    return Kind(
        lambda value: vector(value) if isinstance(value, list | tuple) else words(value),
        {"type": ["string", "array"]},
    )


class _Recall(MemoryArguments):
    query: Annotated[Any, _query()]
    k: Annotated[int, whole(1, 10_000)] = 5
    min_score: Annotated[float | None, number(-1, 1)] = None


class _Get(MemoryArguments):
    may_be_null: ClassVar = frozenset({"default"})

    name: Annotated[str, text("the name of a fact")]
    default: Annotated[Any, anything()] = None


class _Set(MemoryArguments):
    may_be_null: ClassVar = frozenset({"value"})

    name: Annotated[str, text("the name of a fact")]
    value: Annotated[Any, anything()]
    ttl: Annotated[float | None, duration(least=_TINY)] = None


class _Delete(MemoryArguments):
    name: Annotated[str, text("the name of a fact")]


class _Clear(MemoryArguments):
    pass


class _Facts(MemoryArguments):
    pass


#: The model of each operation.
OPERATIONS: Mapping[str, type[MemoryArguments]] = {
    "read": _Read,
    "append": _Append,
    "extend": _Extend,
    "recall": _Recall,
    "clear": _Clear,
    "get": _Get,
    "set": _Set,
    "delete": _Delete,
    "facts": _Facts,
}


def _every_argument() -> type[Arguments]:
    """Make the model of an operation that is not known: each argument may be there."""
    fields: dict[str, Any] = {}
    for model in OPERATIONS.values():
        for name, found in model.model_fields.items():
            if name not in MemoryArguments.model_fields:
                fields[name] = (Annotated[Any, *found.metadata], None)
    return create_model("MemoryArgumentsOfAny", __base__=MemoryArguments, **fields)


#: The model of an operation that is not known yet.
ANY_OPERATION = _every_argument()
