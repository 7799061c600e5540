"""When schedules run: times, zones, what was missed, what overlaps, and who makes the run."""

import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, reset_tzpath

import pytest

from flowcore.engine.background.scheduler import (
    Scheduler,
    check_schedule,
    first_due,
    next_times,
    run_id,
    updated,
)
from flowcore.errors import StoreUnreachableError, UsageError
from flowcore.ports.schedules import Schedule
from flowcore.stores.inmemory.schedules import InMemorySchedules

START = datetime(2026, 3, 27, 12, 0, tzinfo=ZoneInfo("UTC")).timestamp()
EACH_MINUTE = Schedule(name="s", flow="f", every=60.0, start=START)


def _local(times: list[float], zone: str) -> list[str]:
    return [datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%d %H:%M") for at in times]


@dataclass
class Fired:
    """Notes what a schedule wants."""

    runs: dict[str, Any] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    cancelled: list[str] = field(default_factory=list)
    error: str | None = None

    def fire(self, schedule: Schedule, run: str, input: Any) -> None:
        if self.error:
            raise UsageError(self.error)
        self.runs.setdefault(run, input)
        self.open.add(run)

    def is_open(self, run: str) -> bool:
        return run in self.open

    def cancel(self, run: str, reason: str) -> None:
        self.cancelled.append(run)
        self.open.discard(run)


class World:
    """A clock, a book and what was fired."""

    def __init__(self, schedule: Schedule) -> None:
        self.now = START
        self.book = InMemorySchedules(clock=lambda: self.now)
        self.fired = Fired()
        self.scheduler = Scheduler(self.book, lambda: self.fired)
        self.book.put(replace(schedule, due=first_due(schedule, START)), expected=None)

    def pass_(self, seconds: float) -> list[str]:
        """Let time pass, look, and return the runs made by that."""
        before = set(self.fired.runs)
        self.now += seconds
        self.scheduler.step()
        return [run for run in self.fired.runs if run not in before]

    @property
    def kept(self) -> Schedule:
        found = self.book.get("s")
        assert found is not None
        return found


def test_an_interval_is_counted_from_its_start_whenever_one_looks() -> None:
    assert next_times(EACH_MINUTE, START + 130, 2) == [START + 180, START + 240]
    assert next_times(EACH_MINUTE, START + 180, 1) == [START + 240]


def test_a_cron_expression_counts_in_its_own_zone_over_the_change_of_clocks() -> None:
    # In Berlin the clock goes from 02:00 to 03:00 on March 29.
    daily = Schedule(name="s", flow="f", cron="30 2 * * *", zone="Europe/Berlin", start=START)
    times = _local(next_times(daily, START, 3), "Europe/Berlin")
    assert times == ["28 02:30", "29 03:00", "30 02:30"]
    noon = replace(daily, cron="0 12 * * *")
    assert _local(next_times(noon, START, 3), "UTC") == ["28 11:00", "29 10:00", "30 10:00"]


@pytest.mark.parametrize("short", ["@hourly", "@daily", "@weekly", "@monthly", "@yearly"])
def test_short_words_stand_for_expressions(short: str) -> None:
    schedule = Schedule(name="s", flow="f", cron=short, start=START)
    check_schedule(schedule)
    assert first_due(schedule, START) is not None


def test_a_run_is_made_when_it_is_time_under_a_name_that_says_for_when() -> None:
    world = World(replace(EACH_MINUTE, input={"at": "${{ scheduled_for }}", "n": 1}))
    assert world.pass_(59) == []
    assert world.pass_(1) == ["s:2026-03-27T12:01:00Z"]
    assert world.fired.runs == {"s:2026-03-27T12:01:00Z": {"at": "2026-03-27T12:01:00Z", "n": 1}}
    assert world.pass_(1) == []
    assert world.kept.last_run == "s:2026-03-27T12:01:00Z"


def test_of_several_who_look_at_once_one_moves_the_schedule_and_one_run_is_made() -> None:
    world = World(EACH_MINUTE)
    world.now += 60
    stale = world.book.due(world.now)
    world.scheduler.step()
    for schedule in stale:  # another worker, which had read before
        world.scheduler._serve(schedule, world.now)
    assert list(world.fired.runs) == ["s:2026-03-27T12:01:00Z"]
    assert world.kept.revision == 2


@pytest.mark.parametrize(
    ("catch_up", "made"),
    [
        ("skip", []),
        ("last", ["s:2026-03-27T12:04:00Z"]),
        ("all", [f"s:2026-03-27T12:0{n}:00Z" for n in (1, 2, 3, 4)]),
    ],
)
def test_what_was_missed_is_made_up_for_as_far_as_that_is_wanted(
    catch_up: Any, made: list[str]
) -> None:
    hourly = replace(EACH_MINUTE, catch_up=catch_up, overlap="allow")
    world = World(hourly)
    late = world.pass_(4 * 60 + 59.5)
    # The latest is not a minute old: no time that was missed.
    assert late == (made or ["s:2026-03-27T12:04:00Z"])
    assert world.kept.due == START + 300


def test_a_time_that_is_long_past_is_skipped_and_the_next_one_is_not() -> None:
    world = World(replace(EACH_MINUTE, every=3600.0))
    assert world.pass_(2 * 3600 + 61) == []
    assert world.pass_(3600 - 61) == ["s:2026-03-27T15:00:00Z"]


@pytest.mark.parametrize("overlap", ["skip", "cancel", "allow"])
def test_a_run_that_has_not_ended_holds_up_the_next_one_or_not(overlap: Any) -> None:
    world = World(replace(EACH_MINUTE, overlap=overlap))
    (first,) = world.pass_(60)
    second = world.pass_(60)
    assert bool(second) == (overlap != "skip")
    assert world.fired.cancelled == ([first] if overlap == "cancel" else [])
    assert (world.kept.trouble is not None) == (overlap == "skip")
    world.fired.open.clear()
    assert world.pass_(60) == ["s:2026-03-27T12:03:00Z"]
    assert world.kept.trouble is None


def test_a_schedule_that_comes_to_nothing_says_why_and_goes_on() -> None:
    world = World(EACH_MINUTE)
    world.fired.error = "no flow 'f' is deployed"
    assert world.pass_(60) == []
    assert world.kept.trouble == "no flow 'f' is deployed"
    world.fired.error = None
    assert world.pass_(60) == ["s:2026-03-27T12:02:00Z"]


def test_a_paused_schedule_has_no_turn() -> None:
    world = World(replace(EACH_MINUTE, paused=True))
    assert world.pass_(600) == []


def test_no_time_is_before_the_moment_that_is_asked_for() -> None:
    """In Berlin the hour from 02:00 comes twice on this day, and it is the second time now."""
    now = datetime(2026, 10, 25, 1, 10, tzinfo=UTC).timestamp()
    nightly = replace(EACH_MINUTE, every=None, cron="30 2 * * *", zone="Europe/Berlin", start=now)
    tomorrow = datetime(2026, 10, 26, 1, 30, tzinfo=UTC).timestamp()
    assert first_due(nightly, now) == tomorrow


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"name": "a b"}, "a schedule's name is letters, digits, '_', '.' and '-', got 'a b'"),
        ({"every": None}, "a schedule needs either a cron expression, such as '0 2 * * *'"),
        ({"cron": "@daily"}, "a schedule needs either a cron expression, such as '0 2 * * *'"),
        ({"every": 0.5}, "an interval is at least 1 s, got 0.5 s"),
        ({"catch_up": "some"}, "catch-up is one of skip, last, all, got 'some'"),
        ({"overlap": "queue"}, "overlap is one of allow, skip, cancel, got 'queue'"),
        ({"zone": "Mars/Base"}, "there is no time zone 'Mars/Base'; write one such as"),
        ({"zone": "../etc"}, "there is no time zone '../etc'"),
        (
            {"every": None, "cron": "61 * * * *"},
            r"'61 * * * *' is not a cron expression (bad minute)",
        ),
        ({"every": None, "cron": "soon"}, "'soon' is not a cron expression"),
        ({"every": None, "cron": "* * * * * *"}, "'* * * * * *' is not a cron expression (wrong n"),
        ({"every": None, "cron": "*/0 * * * *"}, "'*/0 * * * *' is not a cron expression (bad mi"),
        ({"every": None, "cron": "0 0 31 2 *"}, "'0 0 31 2 *' is not a cron expression"),
        ({"input": {"x": ["a ${{ secrets.TOKEN }}"]}}, "a schedule's input is recorded"),
    ],
)
def test_a_schedule_that_could_not_be_is_refused_with_a_sentence(
    wrong: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError) as caught:
        check_schedule(replace(EACH_MINUTE, **wrong))
    assert str(caught.value).startswith(sentence)


def test_the_latest_of_many_missed_times_is_made_up_for() -> None:
    last = START + 300 * 60
    world = World(replace(EACH_MINUTE, catch_up="last"))
    assert world.pass_(last - START + 1) == [run_id(EACH_MINUTE, last)]
    world = World(replace(EACH_MINUTE, catch_up="all", overlap="allow"))
    made = world.pass_(last - START + 1)
    assert (len(made), made[-1]) == (100, run_id(EACH_MINUTE, last))


def test_a_schedule_that_cannot_be_served_holds_up_no_other_and_is_marked() -> None:
    world = World(EACH_MINUTE)
    poison: list[dict[str, Any]] = [
        {"zone": "Mars/Base"},
        {"cron": "61 * * * *"},
        {"every": float("nan"), "cron": None},
    ]
    for number, wrong in enumerate(poison):
        about: dict[str, Any] = {"every": None, "cron": "* * * * *", **wrong}
        broken = replace(EACH_MINUTE, name=f"a-bad-{number}", **about)
        world.book.put(replace(broken, due=START - 1000), expected=None)
    assert world.pass_(60) == ["s:2026-03-27T12:01:00Z"]
    marked = {one.name: one for one in world.book.schedules() if one.name != "s"}
    assert len(marked) == 3
    for one in marked.values():
        assert one.trouble, one
        assert one.due == START - 1000, "it is due until somebody could serve it"
    assert "a worker cannot serve it: ZoneInfoNotFoundError" in str(marked["a-bad-0"].trouble)
    revisions = {one.revision for one in marked.values()}
    for minute in (2, 3, 4):
        world.fired.open.clear()
        assert world.pass_(60) == [f"s:2026-03-27T12:0{minute}:00Z"]
    assert {one.revision for one in world.book.schedules() if one.name != "s"} == revisions


def test_a_schedule_whose_server_is_away_stays_due_and_holds_up_no_other() -> None:
    world = World(EACH_MINUTE)
    away = replace(EACH_MINUTE, name="away")
    world.book.put(replace(away, due=first_due(away, START)), expected=None)
    fire = world.fired.fire

    def fire_some(schedule: Schedule, run: str, input: Any) -> None:
        if schedule.name == "away":
            raise StoreUnreachableError("shard 2 does not answer")
        fire(schedule, run, input)

    world.fired.fire = fire_some  # type: ignore[method-assign]
    assert world.pass_(60) == ["s:2026-03-27T12:01:00Z"]
    kept = world.book.get("away")
    assert kept is not None
    assert (kept.due, kept.trouble) == (START + 60, None)


def test_a_step_is_short_and_the_rest_has_its_turn_at_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thousand schedules that nobody has looked at for 30 days."""
    world = World(replace(EACH_MINUTE, paused=True))
    for number in range(1000):
        many = replace(EACH_MINUTE, name=f"n{number}", catch_up="last")
        world.book.put(replace(many, due=START + 60), expected=None)
    world.now += 30 * 86400
    clock = iter(range(10**9))
    # Each look at this clock takes 10 ms.
    monkeypatch.setattr(
        "flowcore.engine.values.isolation.time.monotonic", lambda: next(clock) / 100
    )
    steps = []
    while len(world.fired.runs) < 1000:
        steps.append(world.scheduler.step())
    assert max(steps) <= 200
    assert sum(steps) == 1000


NOW = START + 1000.0


@pytest.mark.parametrize("paused", [False, True])
def test_a_schedule_that_is_put_as_it_was_stays_as_it_was(*, paused: bool) -> None:
    old = updated(
        None, replace(EACH_MINUTE, start=0.0, input={"a": [1, 2]}), paused=paused, now=NOW
    )
    later = replace(old, last_run="s:1", trouble="why", revision=7)
    same = replace(EACH_MINUTE, start=0.0, input={"a": (1, 2)})
    assert updated(later, same, now=NOW + 59) is later
    assert updated(later, same, paused=paused, now=NOW + 59) is later


@pytest.mark.parametrize(
    "change",
    [
        {"input": {"a": True}},
        {"tags": ("x",)},
        {"priority": 6},
        {"overlap": "allow"},
        {"flow": "g"},
    ],
)
def test_what_is_changed_of_a_schedule_leaves_its_times_alone(change: dict[str, Any]) -> None:
    first = replace(EACH_MINUTE, start=0.0, input={"a": 1})
    old = replace(updated(None, first, now=NOW), trouble="why", revision=7, last_run="s:1")
    new = updated(old, replace(first, **change), now=NOW + 59)
    assert new is not old
    assert (new.start, new.due, new.last_run, new.trouble) == (NOW, NOW + 60, "s:1", None)


def test_other_times_begin_anew_and_a_paused_one_goes_on_from_now() -> None:
    first = replace(EACH_MINUTE, start=0.0)
    old = updated(None, first, now=NOW)
    other = updated(old, replace(first, every=90.0), now=NOW + 59)
    assert (other.start, other.due) == (NOW + 59, NOW + 59 + 90)
    held = updated(old, first, paused=True, now=NOW + 10)
    assert (held.paused, held.due) == (True, NOW + 60)
    resumed = updated(held, first, paused=False, now=NOW + 500)
    assert (resumed.paused, resumed.due) == (False, NOW + 540)


def test_utc_needs_no_data_of_time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    reset_tzpath(to=())
    ZoneInfo.clear_cache()
    monkeypatch.setitem(sys.modules, "tzdata", None)
    try:
        schedule = Schedule(name="s", flow="f", cron="0 0 * * *", start=0.0)
        check_schedule(schedule)
        assert first_due(schedule, 1.0) == 86_400.0
        with pytest.raises(UsageError, match="there is no time zone"):
            check_schedule(replace(schedule, zone="Europe/Berlin"))
    finally:
        reset_tzpath()
