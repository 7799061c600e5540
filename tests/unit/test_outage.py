"""A sweep after an outage of the store: the holders of leases come first."""

import pytest

from flowcore.engine.background.outage import Outage
from flowcore.errors import FlowcoreError, StoreUnreachableError


class Scene:
    def __init__(self) -> None:
        self.now = 100.0
        self.is_away = False
        self.swept = 0
        self.outage = Outage(1.5, clock=lambda: self.now)

    def _reach(self) -> None:
        if self.is_away:
            raise StoreUnreachableError("away")

    def renew_note(self) -> None:
        self.outage.note(self._reach)

    def sweep(self) -> float:
        def step() -> float:
            self._reach()
            self.swept += 1
            return 0.2

        return self.outage.after(step)


def test_without_an_outage_each_sweep_is_made() -> None:
    scene = Scene()
    for _ in range(3):
        scene.renew_note()
        assert scene.sweep() == 0.2
    assert scene.swept == 3


@pytest.mark.parametrize("who", ["note", "sweep"])
def test_after_an_outage_a_sweep_waits_for_a_heartbeat_and_a_try(who: str) -> None:
    scene = Scene()
    scene.is_away = True
    with pytest.raises(StoreUnreachableError):
        scene.renew_note() if who == "note" else scene.sweep()
    scene.is_away = False
    assert scene.sweep() > 0, "nobody knows yet that it is back"
    scene.renew_note()
    assert scene.sweep() == 3.5
    scene.now += 3.4
    scene.sweep()
    assert scene.swept == 0
    scene.now += 0.2
    assert scene.sweep() == 0.2
    assert scene.swept == 1


def test_an_outage_in_the_wait_makes_a_new_one() -> None:
    scene = Scene()
    for _ in range(2):
        scene.is_away = True
        with pytest.raises(StoreUnreachableError):
            scene.renew_note()
        scene.is_away = False
        scene.renew_note()
        scene.now += 3.0
    assert scene.sweep() == 0.5


def test_a_trouble_that_is_no_outage_delays_nothing() -> None:
    scene = Scene()

    def step() -> float:
        raise FlowcoreError("a run of another kind")

    with pytest.raises(FlowcoreError):
        scene.outage.after(step)
    scene.outage.note(lambda: None)
    assert scene.sweep() == 0.2


def test_a_process_that_was_held_up_itself_lets_others_renew_first() -> None:
    """It may be the one that renews for its children, and it has not."""
    scene = Scene()
    assert scene.sweep() == 0.2
    scene.now += 0.2 + 1.4
    assert scene.sweep() == 0.2, "late, but within a heartbeat"
    scene.now += 0.2 + 1.6
    assert scene.sweep() == 3.5
    scene.now += 3.5
    assert scene.sweep() == 0.2
    assert scene.swept == 3


def test_a_pause_after_trouble_is_not_taken_for_that() -> None:
    scene = Scene()

    def step() -> float:
        raise FlowcoreError("a run of another kind")

    scene.sweep()
    with pytest.raises(FlowcoreError):
        scene.outage.after(step)
    scene.now += 10.0
    assert scene.sweep() == 0.2
