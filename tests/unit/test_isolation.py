"""Loops that serve items one by one, and chores that are done each on its own."""

import logging
from itertools import pairwise

import pytest

from flowcore.engine.background.periodic import Chore, look_after
from flowcore.engine.values.isolation import Deadline, Isolation, sentence_of
from flowcore.errors import StoreUnreachableError, UsageError
from flowcore.ports.troubles import Trouble


class Book:
    """A TroubleBook that remembers what it is told."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, str, str]] = []
        self.cleared: list[tuple[str, str]] = []
        self.down = False

    def note(self, loop: str, item: str, why: str) -> None:
        if self.down:
            raise StoreUnreachableError("away")
        self.noted.append((loop, item, why))

    def clear(self, loop: str, item: str) -> None:
        self.cleared.append((loop, item))

    def troubles(self) -> list[Trouble]:
        return []


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def fail(error: Exception) -> None:
    raise error


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_an_item_that_fails_is_noted_and_left_alone_twice_as_long_each_time(clock: Clock) -> None:
    book = Book()
    it = Isolation("runs", book, clock=clock)
    calls: list[float] = []

    def stumble() -> None:
        calls.append(clock.now)
        raise KeyError("poison")

    for _ in range(400):
        assert not it.serve("bad", stumble)
        clock.now += 1
    gaps = [later - earlier for earlier, later in pairwise(calls)]
    assert gaps == [2, 4, 8, 16, 32, 64, 128]
    assert set(book.noted) == {("runs", "bad", "KeyError: 'poison'")}
    clock.now += 300
    assert it.serve("bad", lambda: None)
    assert (it.held, book.cleared) == (0, [("runs", "bad")])


def test_the_others_have_their_turn_whatever_one_raises(clock: Clock) -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            return "a\nb" * 1000

    it = Isolation("runs", Book(), clock=clock)
    served = []
    for error in (ValueError("x"), UsageError("y"), OddError(), RecursionError(), MemoryError()):
        assert not it.serve(repr(error)[:50], lambda error=error: fail(error))  # type: ignore[misc]
        assert it.serve("fine", lambda: served.append(1))
    assert len(served) == 5
    assert len(sentence_of(OddError())) < 600


def test_an_item_that_has_changed_is_tried_at_once(clock: Clock) -> None:
    it = Isolation("schedules", clock=clock)
    assert not it.serve("one", lambda: fail(ValueError("x")), version=1)
    assert it.serve("one", lambda: None, version=2)


def test_a_service_that_is_away_is_no_trouble_of_an_item_s(clock: Clock) -> None:
    book = Book()
    it = Isolation("runs", book, clock=clock)
    for _ in range(20):
        assert not it.serve("one", lambda: fail(StoreUnreachableError("away")))
        clock.now += 2.1
    assert not book.noted
    assert it.serve("one", lambda: None), "it waits no longer than after one failure"


def test_a_book_that_cannot_be_reached_stops_nothing(clock: Clock) -> None:
    book = Book()
    book.down = True
    it = Isolation("runs", book, clock=clock)
    assert not it.serve("one", lambda: fail(ValueError("x")))
    assert it.serve("two", lambda: None)


def test_a_deadline_is_never_over_before_the_first_item(clock: Clock) -> None:
    deadline = Deadline(seconds=1, clock=clock)
    clock.now += 50
    assert not deadline.is_over()
    clock.now += 1.5
    assert deadline.is_over()


def test_a_chore_that_fails_keeps_no_other_from_its_turn(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []

    def own_pace() -> float:
        done.append("own")
        return 0.25

    chores = [
        Chore("broken", lambda: fail(ZeroDivisionError()), every=0.5, clock=clock),
        Chore("away", lambda: fail(StoreUnreachableError("no")), every=0.5, clock=clock),
        Chore("steady", lambda: done.append("steady"), every=1.0, clock=clock),
        Chore("own pace", own_pace, clock=clock),
    ]
    with caplog.at_level(logging.WARNING):
        for _ in range(8):
            clock.now += look_after(chores)
    assert done.count("own") == 8
    assert done.count("steady") == 2
    assert "unexpected error in broken" in caplog.text
    assert "away has to wait: no" in caplog.text
