"""The latest times of schedules: those that going forward finds, with bounded work."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

import cronsim
import pytest

from flowcore.engine.background import schedule_times
from flowcore.engine.background.schedule_times import MOST_MISSED, latest_times, times_after
from flowcore.ports.schedules import Schedule
from tests.deep import count

ZONES = [
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"),
    *("America/St_Johns", "Africa/Casablanca", "Asia/Kathmandu", "Pacific/Auckland"),
]
CRONS = [
    *("* * * * *", "*/15 * * * *", "*/15 2 * * *", "0 * * * *", "30 2 * * *", "0 0 * * *"),
    *("0 3 * * 0", "30 1 * * *", "*/7 1-3 * 3,10 *", "0 0 1 * *", "0 12 29 2 *", "59 23 L * *"),
    *("0 0 * * MON#1", "* 2 * 10 *", "0 2,3 25-31 * *", "15 0-3 * * 7"),
]
DAY = 86400.0


def _by_going_forward(schedule: Schedule, *, after: float, now: float, count: int) -> list[float]:
    return list(takewhile(lambda at: at <= now, times_after(schedule, after)))[-count:]


def _moments(dice: random.Random, many: int) -> Iterator[float]:
    """Moments of which many are near a change of clocks."""
    changes = [
        datetime(2026, 3, 29, 1, tzinfo=UTC),
        datetime(2026, 10, 25, 1, tzinfo=UTC),
        datetime(2026, 3, 8, 7, tzinfo=UTC),
        datetime(2026, 11, 1, 6, tzinfo=UTC),
        datetime(2026, 4, 4, 15, tzinfo=UTC),
        datetime(2026, 10, 3, 15, tzinfo=UTC),
    ]
    for _ in range(many):
        near = dice.choice(changes).timestamp()
        yield near + dice.choice([0, 1, -1, dice.uniform(-3, 3) * 3600, dice.uniform(-9, 9) * DAY])


def test_the_latest_times_are_those_that_going_forward_finds() -> None:
    dice = random.Random(17)
    for now in _moments(dice, count(150, 5000)):
        cron, zone = dice.choice(CRONS), dice.choice(ZONES)
        schedule = Schedule(name="s", flow="f", cron=cron, zone=zone, start=0.0)
        dense = cron.startswith("*")
        after = now - dice.uniform(0, 2 * DAY if dense else 400 * DAY)
        for most in (1, 3, MOST_MISSED):
            about = {"after": after, "now": now, "count": most}
            found = latest_times(schedule, **about)  # type: ignore[arg-type]
            assert found == _by_going_forward(schedule, **about), (cron, zone, after, now, most)  # type: ignore[arg-type]


def test_the_latest_times_of_an_interval_are_those_that_going_forward_finds() -> None:
    dice = random.Random(18)
    for _ in range(count(300, 20_000)):
        start, every = dice.uniform(0, 1e9), dice.choice([1.0, 1.5, 60.0, 3600.0, 86400.7])
        schedule = Schedule(name="s", flow="f", every=every, start=start)
        now = start + dice.choice([-5.0, 0.0, dice.uniform(0, 300) * every, 77 * every])
        after = now - dice.uniform(0, 300) * every
        about = {"after": after, "now": now, "count": dice.choice([1, 7, 100])}
        found = latest_times(schedule, **about)  # type: ignore[arg-type]
        assert found == _by_going_forward(schedule, **about)  # type: ignore[arg-type]


@pytest.mark.parametrize("more", [{"cron": "* * * * *"}, {"cron": "* * * 1 *"}, {"every": 1.0}])
@pytest.mark.parametrize("days", [3, 30, 365, 20_000])
def test_the_work_is_the_same_however_long_nobody_looked(
    more: dict[str, Any], days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0

    class Counted(cronsim.CronSim):
        def __next__(self) -> datetime:
            nonlocal steps
            steps += 1
            return super().__next__()

    def counted(schedule: Schedule, after: float) -> Iterator[float]:
        nonlocal steps
        for at in times_after(schedule, after):
            steps += 1
            yield at

    monkeypatch.setattr(schedule_times, "CronSim", Counted)
    monkeypatch.setattr(schedule_times, "times_after", counted)
    now = 1_796_000_000.0
    schedule = Schedule(name="s", flow="f", start=now - days * DAY, zone="Europe/Berlin", **more)
    for most in (1, MOST_MISSED):
        steps = 0
        found = latest_times(schedule, after=now - days * DAY, now=now, count=most)
        assert len(found) <= most
        assert steps < 900


@pytest.mark.parametrize(
    ("days", "wanted"),
    [
        ("sat-sun", "6,0"),
        ("fri-sun", "5,6,0"),
        ("FRI-Sun", "5-7"),
        ("1-sun", "*"),
        ("mon-sun/2", "1,3,5,7"),
        ("wed,sat-sun", "3,6,0"),
        ("sun-mon", "0,1"),
        ("sun", "0"),
        ("sun-sun", "0"),
        ("5-7", "5,6,7"),
    ],
)
def test_a_range_of_weekdays_may_end_with_sunday(days: str, wanted: str) -> None:
    def times(weekdays: str) -> list[float]:
        cron = f"0 0 * * {weekdays}"
        schedule = Schedule(name="s", flow="f", cron=cron, zone="UTC", start=0.0)
        return schedule_times.next_times(schedule, 1_800_000_000.0, 30)

    assert times(days) == times(wanted)
