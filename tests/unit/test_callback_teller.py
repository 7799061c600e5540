"""The teller of callbacks: a run that it cannot tell of holds up no other."""

import asyncio
from collections.abc import Sequence

from flowcore.engine.background.callbacks import CallbackRunner
from flowcore.ports.callbacks import Turn
from flowcore.ports.store import AppendResult, AttemptRef
from flowcore.run.event import Event, EventType
from flowcore.run.node_event import Note


class Desk:
    def __init__(self, runs: Sequence[str]) -> None:
        self._runs = list(runs)
        self.kept: list[str] = []

    def take(self, *, lease: float) -> Turn | None:
        return Turn(run=self._runs.pop(0), after=0, token=1) if self._runs else None

    def keep(
        self, turn: Turn, after: int, *, again: float, over: bool = False, patience: float = 0.0
    ) -> bool:
        self.kept.append(turn.run)
        return True


class Log:
    """An event log in which one run cannot be read."""

    def append(self, ticket: AttemptRef, notes: Sequence[Note], *, number: int) -> AppendResult:
        raise NotImplementedError

    def read(self, run: str, *, after: int = 0, block: float | None = None) -> Sequence[Event]:
        if run == "bad":
            raise ValueError("an event that nobody can read")
        return [Event(id=1, type=EventType.RUN_STARTED, run=run, time=0.0)]

    def last(self, run: str) -> int:
        raise NotImplementedError

    def wait(self, run: str, *, timeout: float) -> bool:
        raise NotImplementedError


class Heeded:
    def __init__(self) -> None:
        self.runs: list[str] = []

    def on_run_start(self, event: Event) -> None:
        self.runs.append(event.run)


def test_a_run_that_cannot_be_told_of_holds_up_no_other() -> None:
    heard, desk = Heeded(), Desk(["a", "bad", "c"])
    teller = CallbackRunner([heard], desk=desk, events=Log(), lease=1.0)
    with asyncio.Runner() as runner:
        while teller.step(runner):
            pass
    assert heard.runs == ["a", "c"]
    assert desk.kept == ["a", "c"], "the other one keeps its turn until its lease is over"
