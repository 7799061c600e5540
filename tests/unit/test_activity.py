"""An idle worker looks once a second, a busy one often, and one that is woken at once."""

from collections.abc import Callable

import pytest

from flowcore.celery.steps.idle_backoff import Activity
from flowcore.engine.background.janitor import Janitor
from flowcore.ports.store import SweepResult
from flowcore.stores.inmemory.runs.store import InMemoryStore


class Clock:
    """Time that stands still unless told."""

    def __init__(self) -> None:
        self.now = 100.0
        self.received = 0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def activity(clock: Clock) -> Activity:
    return Activity(lambda: clock.received, clock=clock)


def _counting(pause: float) -> tuple[list[int], Callable[[], float]]:
    calls: list[int] = []

    def step() -> float:
        calls.append(1)
        return pause

    return calls, step


def test_a_step_waits_for_its_time_and_the_count_is_looked_at_meanwhile(
    clock: Clock, activity: Activity
) -> None:
    calls, step = _counting(1.0)
    assert activity.call(step) == 0.2
    for _ in range(4):
        clock.now += 0.2
        assert activity.call(step) <= 0.2
    assert len(calls) == 1
    clock.now += 0.3
    activity.call(step)
    assert len(calls) == 2


def test_a_message_makes_it_look_at_once(clock: Clock, activity: Activity) -> None:
    calls, step = _counting(1.0)
    activity.call(step)
    clock.now += 0.2
    clock.received += 1
    activity.call(step)
    assert len(calls) == 2
    assert activity.is_busy()


def test_a_worker_is_idle_some_seconds_after_its_last_message(
    clock: Clock, activity: Activity
) -> None:
    assert activity.is_busy()
    clock.now += 11.0
    assert not activity.is_busy()
    clock.received += 1
    assert activity.is_busy()


@pytest.mark.parametrize(
    ("next_due", "busy", "pause"),
    [
        (None, False, 1.0),
        (600_000.0, False, 1.0),
        (None, True, 0.2),
        (5.0, False, 0.2),
        (0.1, False, 0.1),
        (0.1, True, 0.1),
    ],
)
def test_the_janitor_sleeps_long_only_where_nothing_goes_on(
    monkeypatch: pytest.MonkeyPatch, next_due: float | None, busy: bool, pause: float
) -> None:
    store = InMemoryStore()
    monkeypatch.setattr(store, "sweep", lambda **_: SweepResult(next_due=next_due))
    janitor = Janitor(
        store=store,
        dispatcher=None,  # type: ignore[arg-type]  # nothing is published
        backlog=lambda _: 0,
        busy=lambda: busy,
    )
    assert janitor.step() == pause
