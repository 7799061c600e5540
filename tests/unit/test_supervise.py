"""A supervisor raises the pressure on a worker that is to end."""

import signal
from dataclasses import dataclass, field
from typing import cast

from flowcore.assembly.supervise import Supervision
from flowcore.assembly.supervisor import LocalWorkers


@dataclass
class Workers:
    """A worker that notes what it is sent."""

    sent: list[int] = field(default_factory=list)
    ended: bool = False
    are_done: bool = False
    failure: str | None = None

    def send(self, signum: int) -> None:
        self.sent.append(signum)

    end = send

    def have_ended(self) -> bool:
        return self.ended


def _over(workers: Workers, grace: float = 20) -> Supervision:
    return Supervision(cast("LocalWorkers", workers), grace=grace)


def test_a_worker_is_told_to_end_then_to_hand_back_then_killed() -> None:
    workers = Workers()
    over = _over(workers)
    assert not over.look(0)
    over.take(signal.SIGTERM, 100)
    assert not over.look(112.9)
    assert workers.sent == [signal.SIGTERM]
    assert not over.look(113)
    assert workers.sent == [signal.SIGTERM, signal.SIGQUIT]
    assert not over.look(119.9)
    assert over.look(120)


def test_a_short_grace_is_halved() -> None:
    workers = Workers()
    over = _over(workers, grace=4)
    over.take(signal.SIGTERM, 0)
    over.look(1.9)
    assert workers.sent == [signal.SIGTERM]
    over.look(2)
    assert workers.sent == [signal.SIGTERM, signal.SIGQUIT]


def test_each_further_signal_raises_the_pressure() -> None:
    workers = Workers()
    over = _over(workers)
    over.take(signal.SIGINT, 0)
    assert not over.look(1)
    over.take(signal.SIGINT, 1)
    assert workers.sent == [signal.SIGTERM, signal.SIGQUIT]
    assert not over.look(2)
    over.take(signal.SIGINT, 3)
    assert over.look(3)


def test_a_worker_that_has_ended_is_all_there_was() -> None:
    workers = Workers()
    over = _over(workers)
    over.take(signal.SIGQUIT, 0)
    assert workers.sent == [signal.SIGQUIT]
    workers.ended = True
    assert over.look(0.1)


def test_it_leaves_when_the_worker_has_left_in_good_order_or_was_given_up() -> None:
    workers = Workers(are_done=True)
    assert _over(workers).look(0)
    assert _over(Workers(failure="died")).look(0)


def test_signals_that_end_nothing_are_passed_on() -> None:
    workers = Workers()
    over = _over(workers)
    over.take(signal.SIGHUP, 0)
    over.take(signal.SIGUSR1, 0)
    assert workers.sent == [signal.SIGHUP, signal.SIGUSR1]
    assert not over.look(1000)
