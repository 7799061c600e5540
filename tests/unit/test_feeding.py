"""Feeding a map while what gives its items still runs."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from flowcore.engine.child_runs.item_feed import MOST_ITEMS, ItemFeed, feeding
from flowcore.errors import UsageError


class Begun:
    """Remembers what was begun, and lets others wait for it."""

    def __init__(self) -> None:
        self.portions: list[tuple[int, list[Any]]] = []
        self._some = threading.Condition()

    def __call__(self, first: int, items: list[Any]) -> None:
        with self._some:
            self.portions.append((first, items))
            self._some.notify_all()

    def wait_for(self, count: int) -> None:
        with self._some:
            assert self._some.wait_for(lambda: len(self.items) >= count, timeout=30)

    @property
    def items(self) -> list[Any]:
        return [item for _, items in self.portions for item in items]


def test_an_item_begins_before_the_next_one_comes() -> None:
    begun = Begun()
    with ItemFeed(begun, name="m") as feed:
        for number in range(3):
            feed.put(number)
            begun.wait_for(number + 1)
    assert begun.portions == [(0, [0]), (1, [1]), (2, [2])]


def test_what_comes_while_others_are_begun_is_begun_together() -> None:
    begun, gate = Begun(), threading.Event()

    def slow(first: int, items: list[Any]) -> None:
        begun(first, items)
        assert gate.wait(30)

    with ItemFeed(slow, name="m") as feed:
        feed.put(0)
        begun.wait_for(1)
        for number in range(1, 1000):
            feed.put(number)
        gate.set()
    assert begun.items == list(range(1000))
    assert len(begun.portions) == 2


def test_chunks_are_whole_but_for_the_last() -> None:
    begun = Begun()
    with ItemFeed(begun, name="m", size=3) as feed:
        feed.put(0)
        feed.put(1)
        assert begun.portions == []
        for number in range(2, 8):
            feed.put(number)
    assert begun.items == [[0, 1, 2], [3, 4, 5], [6, 7]]
    firsts = [first for first, _ in begun.portions]
    assert firsts == sorted(firsts)


def test_what_has_begun_before_is_not_begun_again() -> None:
    begun = Begun()
    with ItemFeed(begun, name="m", begun=2, size=2) as feed:
        for number in range(6):
            feed.put(number)
    assert begun.portions == [(2, [[4, 5]])]


def test_a_source_that_fails_begins_no_more() -> None:
    begun, gate = Begun(), threading.Event()

    def slow(first: int, items: list[Any]) -> None:
        begun(first, items)
        assert gate.wait(30)

    def feed_and_fail() -> None:
        with ItemFeed(slow, name="m") as feed:
            feed.put(0)
            begun.wait_for(1)
            feed.put(1)
            gate.set()
            raise ConnectionError

    with pytest.raises(ConnectionError):
        feed_and_fail()
    assert begun.items[0] == 0


def test_what_goes_wrong_when_items_begin_is_raised_where_they_are_given() -> None:
    told = threading.Event()

    def broken(first: int, items: list[Any]) -> None:
        del first, items
        told.set()
        raise ConnectionError("no store")

    def feed_all() -> None:
        with ItemFeed(broken, name="m") as feed:
            feed.put(0)
            assert told.wait(30)
            while True:
                feed.put(1)

    with pytest.raises(ConnectionError, match="no store"):
        feed_all()


def test_there_is_a_most_for_one_map() -> None:
    begun = Begun()

    def feed_all() -> None:
        with ItemFeed(begun, name="m", begun=MOST_ITEMS) as feed:
            for number in range(MOST_ITEMS + 1):
                feed.put(number)

    with pytest.raises(UsageError, match="node 'm' gave more than 100,000 items"):
        feed_all()


def generator(count: int) -> Iterator[int]:
    yield from range(count)


async def async_generator(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def later(count: int) -> list[int]:
    return list(range(count))


@pytest.mark.parametrize("function", [generator, async_generator, later, range])
def test_a_source_may_be_written_in_any_way(function: Any) -> None:
    items: list[Any] = []
    given = feeding(function, items.append)(3)
    if given is not None:
        asyncio.run(given)
    assert items == [0, 1, 2]


@pytest.mark.parametrize("given", [None, "text", b"bytes", {"a": 1}, 7])
def test_what_is_no_source_is_refused(given: Any) -> None:
    with pytest.raises(UsageError, match="a generator, or returns a list of items"):
        feeding(lambda: given, print)()
