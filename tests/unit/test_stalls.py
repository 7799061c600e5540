"""When a worker is thought to have stopped consuming."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from flowcore.celery.steps.stalls import Stall, StallWatch


@dataclass
class It:
    now: float = 0.0

    def __post_init__(self) -> None:
        self.stall = Stall(patience=15, clock=lambda: self.now)

    def look(self, *, received: int = 7, full: bool = False, waiting: int = 1) -> bool:
        self.now += 5
        return self.stall.look(received=received, full=full, waiting=lambda: waiting)


def test_one_that_receives_nothing_while_messages_wait_has_stalled() -> None:
    it = It()
    assert [it.look() for _ in range(5)] == [False, False, False, True, True]


@pytest.mark.parametrize("why", [{"received": 8}, {"full": True}, {"waiting": 0}])
def test_one_that_is_busy_or_has_nothing_to_do_has_not(why: dict[str, int]) -> None:
    it = It()
    for _ in range(3):
        it.look()
    assert not it.look(**why)  # type: ignore[arg-type]
    after = why if "received" in why else {}
    assert not it.look(**after)  # type: ignore[arg-type]


def test_a_worker_that_refuses_all_it_receives_has_not_stalled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Celery counts the tasks that it takes; a flood of refused messages adds none."""
    refuser = SimpleNamespace(count=0)
    waiting = SimpleNamespace(dispatcher=SimpleNamespace(waiting=lambda *_: 9))
    flowcore = SimpleNamespace(refuser=refuser, services=lambda: waiting)
    worker: Any = SimpleNamespace(
        app=SimpleNamespace(flowcore=flowcore), consumer=None, max_concurrency=1
    )
    looked: list[int] = []
    watch = StallWatch(worker)

    def look(_: Stall, *, received: int, **__: Any) -> bool:
        looked.append(received)
        refuser.count += 3
        if len(looked) == 3:
            watch.stop(worker)
        return False

    monkeypatch.setattr(Stall, "look", look)
    watch._run(worker, Stall(patience=1), 0.001)
    assert [each - looked[0] for each in looked] == [0, 3, 6]
