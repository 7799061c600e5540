"""What clients were told, and what became of it.

In: accepted runs. Out: who is open, judged, lost; every problem as a sentence. A thread looks at
the server all the time: each run is judged as soon as it has ended, and is looked at again until
its retention is over. Not here: how one run is judged (judging).
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from flowcore.assembly.session import Session
from flowcore.client.flow import start_run
from flowcore.client.run import Run
from flowcore.errors import FlowcoreError
from flowcore.ports.store import RunQuery
from flowcore.run.event import Event
from flowcore.run.record import RunSummary
from tests.faults.cases import Case
from tests.faults.judging import judge
from tests.faults.kinship import judge_kin
from tests.faults.meddling import Meddler

__all__ = ["Account", "Ledger", "PowerLoss"]

_LOOK = 0.3
_ALL = 1_000_000


@dataclass(kw_only=True)
class Account:
    """One run that a client was told is accepted."""

    case: Case
    told: float
    """Unix seconds at which the client heard of it."""
    end: RunSummary | None = None
    """The run as it was first seen to have ended."""
    seen: float = 0.0
    """Unix seconds of that look."""
    gone: bool = False
    lost: bool = False
    events: list[Event] = field(default_factory=list)
    inside: Mapping[str, list[Event]] = field(default_factory=dict)
    """Events of the runs inside it, and its own."""
    meddler: Meddler | None = None


@dataclass(frozen=True, kw_only=True)
class PowerLoss:
    """What was answered between these times may be gone: Unix seconds."""

    since: float
    until: float

    def covers(self, at: float) -> bool:
        # Answers are noted a little later than they were given; the server counts milliseconds.
        return self.since - 0.01 <= at <= self.until + 0.1


class Ledger:
    """Keeps the accounts; threads share it."""

    def __init__(self, session: Session, *, retention: float, max_lost: int, gates: Path) -> None:
        self.accounts: dict[str, Account] = {}
        self.problems: list[str] = []
        self.foreign: list[str] = []
        """Errors that are none of flowcore's own, as clients met them."""
        self.power_losses: list[PowerLoss] = []
        self.sent_again = 0
        """Runs that a power loss undid and their client sent once more."""
        self._session = session
        self._retention = retention
        self._max_lost = max_lost
        self._gates = gates
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ledger", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        meddlers = [one.meddler for one in self.accounts.values() if one.meddler is not None]
        for meddler in meddlers:
            meddler.stop.set()
        for meddler in meddlers:
            meddler.join()
            self.foreign += meddler.foreign

    def open(self) -> list[str]:
        """Runs that have not ended, as far as is known."""
        with self._lock:
            return [run for run, one in self.accounts.items() if one.end is None and not one.lost]

    def lost(self) -> list[str]:
        """Accepted runs that the server does not know."""
        with self._lock:
            return [run for run, one in self.accounts.items() if one.lost]

    def submit(self, run: str, case: Case, *, until: Callable[[], bool] = lambda: False) -> bool:
        """Start a run as a client does, again and again until it is accepted."""
        while not until():
            try:
                start_run(self._session, case.plan, case.input, id=run)
            except FlowcoreError:
                time.sleep(0.2)
            except Exception as error:  # noqa: BLE001  (that it is foreign is what is noted)
                self.foreign.append(f"start_run: {type(error).__module__}.{error!r}")
                time.sleep(0.2)
            else:
                account = Account(case=case, told=time.time())
                if case.kin:
                    account.meddler = Meddler(self._session, run, case.plot, self._gates)
                    account.meddler.start()
                with self._lock:
                    self.accounts[run] = account
                return True
        return False

    def lose_power(self, loss: PowerLoss) -> None:
        """The server forgot a second: what ended in it may run again."""
        with self._lock:
            self.power_losses.append(loss)
            for one in self.accounts.values():
                if one.end is not None and loss.covers(one.end.finished or 0):
                    one.end, one.events, one.inside = None, [], {}

    def _watch(self) -> None:
        while not self._done.wait(_LOOK):
            try:
                self._look()
            except FlowcoreError:
                continue
            except Exception as error:  # noqa: BLE001
                self.foreign.append(f"reading: {type(error).__module__}.{error!r}")

    def _look(self) -> None:
        asked, losses = time.time(), len(self.power_losses)
        rows = {row.id: row for row in self._session.runtime.reader.list_runs(RunQuery(limit=_ALL))}
        with self._lock:
            accounts = {run: one for run, one in self.accounts.items() if one.told < asked}
        for run, one in accounts.items():
            if losses != len(self.power_losses):
                return  # these rows are of before
            if one.end is None:
                self._look_at_open(run, one, rows.get(run))
            elif not one.gone:
                self._look_at_ended(run, one, one.end, rows.get(run))

    def _look_at_open(self, run: str, one: Account, row: RunSummary | None) -> None:
        if row is not None and row.state.is_terminal:
            if one.meddler is not None and not one.meddler.over.is_set():
                return  # somebody is about to resume it
            losses = len(self.power_losses)
            problems, inside = self._judge(Run(run, session=self._session), one.case)
            with self._lock:
                if losses != len(self.power_losses):
                    return
                self.problems += problems
                one.end, one.seen, one.events = row, time.time(), inside[run]
                one.inside = inside
        elif row is None and not one.lost:
            if self._session.runtime.reader.summary(run) is not None:
                return
            if any(loss.covers(one.told) for loss in self.power_losses):
                self.sent_again += 1
                self.submit(run, one.case, until=self._done.is_set)
            else:
                with self._lock:
                    one.lost = True

    def _judge(self, run: Run, case: Case) -> tuple[list[str], Mapping[str, list[Event]]]:
        if case.kin:
            return judge_kin(self._session, run, case, retention=self._retention)
        problems, events = judge(run, case, max_lost=self._max_lost)
        return problems, {run.id: events}

    def _look_at_ended(
        self, run: str, one: Account, end: RunSummary, row: RunSummary | None
    ) -> None:
        if row is not None:
            before = (end.state, end.finished, end.settled)
            if (row.state, row.finished, row.settled) != before:
                one.end = row
                self.problems.append(f"{run}: changed after its end: {before} became {row}")
        elif time.time() < (end.finished or 0) + self._retention - 0.5:
            one.gone = True
            self.problems.append(f"{run}: vanished before its retention was over")
        else:
            one.gone = True
