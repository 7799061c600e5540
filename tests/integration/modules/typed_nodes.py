"""Functions of every form whose parameters have types, and say what they were given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel

from flowcore import Context, node


class Colour(Enum):
    RED = "red"


@dataclass
class Line:
    sku: str
    count: int = 1


class Order(BaseModel):
    id: int
    lines: list[Line] = []
    due: date | None = None


def _told(order: Order, day: date, colour: Colour) -> dict[str, Any]:
    assert all(isinstance(line, Line) for line in order.lines)
    return {"id": order.id + 1, "year": day.year, "colour": colour.name}


@node
def plain(order: Order, day: date, colour: Colour = Colour.RED) -> dict[str, Any]:
    return _told(order, day, colour)


@node
async def later(order: Order, day: date, colour: Colour = Colour.RED) -> dict[str, Any]:
    return _told(order, day, colour)


def context(ctx: Context, order: Order, *, day: date, colour: Colour = Colour.RED) -> Any:
    assert ctx.node_id
    return _told(order, day, colour)


def by_place(order: Order, day: date, /, colour: Colour = Colour.RED) -> dict[str, Any]:
    return _told(order, day, colour)


def generator(order: Order, day: date, colour: Colour = Colour.RED) -> Iterator[dict[str, Any]]:
    yield _told(order, day, colour)


async def stream(order: Order, day: date, colour: Colour = Colour.RED) -> AsyncIterator[Any]:
    yield _told(order, day, colour)


class Called:
    def __call__(self, order: Order, day: date, colour: Colour = Colour.RED) -> dict[str, Any]:
        return _told(order, day, colour)


called = Called()

FORMS = ("plain", "later", "context", "by_place", "generator", "stream", "called")


def make(id: int = 7) -> Order:
    return Order(id=id, lines=[Line(sku="a", count=2)])


def use(order: Order) -> int:
    return order.id


def pick(mode: Literal["a", "b"], n: int) -> list[Any]:
    return [mode, n, type(n).__name__]


def count_of(line: Line) -> int:
    return line.count


def counts_of(lines: list[Line]) -> list[int]:
    return [line.count for line in lines]


def numbers(most: int) -> Iterator[int]:
    yield from range(most)


def instead(error: dict[str, str], n: int) -> list[Any]:
    return [error["type"], n]


def undo(output: Order) -> None:
    if not isinstance(output, Order):
        raise TypeError(type(output))
