"""Circles of garbage are collected in quiet moments, and after many attempts in any."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from flowcore.celery.garbage_collection import GarbageCollection
from tests.engine import poll


class Circle:
    """Refers to itself, as an exception does through its traceback."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _by_hand() -> Iterator[None]:
    """Python's own collector would hide what ours does."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


def _garbage() -> "weakref.ref[Circle]":
    return weakref.ref(Circle())


def test_garbage_goes_in_a_quiet_moment() -> None:
    ours = GarbageCollection(few=3, many=1000, pause=0.01)
    for _ in range(3):
        ours.note()
    poll(lambda: ours._count == 0, what="the first collection")  # freezes what was there before
    left = _garbage()
    for _ in range(3):
        ours.note()
    poll(lambda: left() is None, what="the garbage to go")


def test_few_are_no_reason_to_collect() -> None:
    ours = GarbageCollection(few=3, many=1000, pause=0.01)
    ours.note()
    ours.note()
    assert ours._thread is None


def test_many_are_a_reason_though_it_is_never_quiet() -> None:
    ours = GarbageCollection(few=3, many=50, pause=0.01)
    for _ in range(3):
        ours.note()
    poll(lambda: ours._count == 0, what="the first collection")
    left = _garbage()

    def busy() -> bool:
        ours.note()
        return left() is None

    poll(busy, what="the garbage to go while attempts go on")
