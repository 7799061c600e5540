"""Schedules that are kept; one suite for both implementations."""

from dataclasses import replace

import pytest

from flowcore.ports.schedules import Schedule, ScheduleStore
from flowcore.stores.inmemory.schedules import InMemorySchedules
from flowcore.stores.redis.schedules import RedisSchedules


@pytest.fixture(params=["inmemory", pytest.param("redis", marks=pytest.mark.integration)])
def book(request: pytest.FixtureRequest) -> ScheduleStore:
    if request.param == "redis":
        return RedisSchedules(request.getfixturevalue("redis_client"), namespace="here")
    return InMemorySchedules()


NIGHTLY = Schedule(
    name="nightly",
    flow="etl",
    cron="0 2 * * *",
    zone="Europe/Berlin",
    input={"a": [1, None]},
    tags=("x",),
    due=100.0,
)


def test_a_schedule_is_kept_whole_with_the_next_revision(book: ScheduleStore) -> None:
    assert book.get("nightly") is None
    assert book.put(NIGHTLY, expected=None)
    assert book.get("nightly") == replace(NIGHTLY, revision=1)
    assert list(book.schedules()) == [replace(NIGHTLY, revision=1)]


def test_only_who_has_seen_the_latest_revision_may_change_it(book: ScheduleStore) -> None:
    book.put(NIGHTLY, expected=None)
    assert not book.put(NIGHTLY, expected=None)
    assert not book.put(NIGHTLY, expected=7)
    assert book.put(replace(NIGHTLY, due=200.0), expected=1)
    assert not book.put(replace(NIGHTLY, due=300.0), expected=1)
    kept = book.get("nightly")
    assert kept is not None
    assert (kept.due, kept.revision) == (200.0, 2)


def test_what_is_due_is_returned_the_longest_due_first_without_what_is_paused(
    book: ScheduleStore,
) -> None:
    for name, due, paused in (
        ("a", 30.0, False),
        ("b", 10.0, False),
        ("c", 20.0, True),
        ("d", 40.5, False),
        ("e", None, False),
    ):
        book.put(replace(NIGHTLY, name=name, due=due, paused=paused), expected=None)
    assert [one.name for one in book.due(30.0)] == ["b", "a"]
    assert [one.name for one in book.due(9.9)] == []


def test_what_is_removed_is_no_longer_due(book: ScheduleStore) -> None:
    book.put(NIGHTLY, expected=None)
    assert book.remove("nightly")
    assert not book.remove("nightly")
    assert (list(book.due(1e12)), list(book.schedules())) == ([], [])
