"""How often a janitor looks at the agenda."""

import pytest

from flowcore.engine.background.janitor import Janitor
from flowcore.plan.plan import Plan
from flowcore.ports.store import Dispatch
from flowcore.stores.inmemory import InMemoryStore


class NoDispatcher:
    def publish(self, dispatch: Dispatch, plan: Plan) -> None:
        raise AssertionError(dispatch, plan)


def _pauses(workers: int) -> list[float]:
    janitor = Janitor(
        store=InMemoryStore(),
        dispatcher=NoDispatcher(),
        backlog=lambda _: 0,
        workers=lambda: workers,
    )
    return [janitor.step() for _ in range(200)]


def test_few_janitors_look_five_times_a_second() -> None:
    assert set(_pauses(10)) == {0.2}


@pytest.mark.parametrize("workers", [20, 100, 1000])
def test_many_look_fifty_times_a_second_all_together(workers: int) -> None:
    pauses = _pauses(workers)
    assert workers / (sum(pauses) / len(pauses)) == pytest.approx(50, rel=0.15)
    assert len(set(pauses)) == len(pauses), "and not all at once"


def test_one_whose_neighbours_have_died_is_not_alone_for_long() -> None:
    assert max(_pauses(1_000_000)) <= 90
