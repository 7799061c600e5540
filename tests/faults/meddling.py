"""Who meddles with runs of flows of flows: answers, signals, holds, cancels, mends, resumes.

In: a session, a run, a plot. Out: a thread that does so until it is told to stop. Whatever a fault
undoes or refuses is done again, as people do.
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from flowcore.assembly.session import Session
from flowcore.client.run import Run
from flowcore.errors import FlowcoreError
from flowcore.run.record import RunSummary
from flowcore.run.status import NodeState, RunState

__all__ = ["Meddler", "Plot", "family"]

Plot = Literal["none", "cancel", "halt", "pause", "mend"]
"""``halt`` is a cancel while the run is paused."""

_EVERY = 0.25


def family(session: Session, run: str) -> Iterator[str]:
    """The runs inside a run, each after the one around it."""
    for child in session.runtime.reader.children(run):
        yield child
        yield from family(session, child)


class Meddler(threading.Thread):
    """Meddles with one run."""

    def __init__(self, session: Session, run: str, plot: Plot, gates: Path) -> None:
        super().__init__(name=f"meddler of {run}", daemon=True)
        self.over = threading.Event()
        """Set while the run has ended and nothing more is planned for it."""
        self.stop = threading.Event()
        self.foreign: list[str] = []
        self._session = session
        self._run = Run(run, session=session)
        self._plot = plot
        self._gate = gates / run
        dice = random.Random(f"meddler {run}")
        now = time.monotonic()
        self._begins = now + dice.uniform(0.0, 3.0)
        self._lasts = dice.uniform(0.05, 2.5)
        self._turns = dice.randint(1, 3)
        self._mended = 0.0

    def run(self) -> None:
        while not self.stop.wait(_EVERY):
            try:
                row = self._session.runtime.reader.summary(self._run.id)
                if row is not None:
                    self._meddle(row)
            except FlowcoreError:
                continue
            except Exception as error:  # noqa: BLE001  (that it is foreign is what is noted)
                self.foreign.append(f"meddling: {type(error).__module__}.{error!r}")

    def _meddle(self, row: RunSummary) -> None:
        if row.state.is_terminal:
            if self._plot == "mend" and row.state is not RunState.SUCCEEDED:
                self._mend()
            else:
                self.over.set()
            return
        self.over.clear()
        if row.state is RunState.PAUSED:
            time.sleep(self._lasts)
            if self._plot == "halt" and self._turns:
                self._turns = 0
                self._twice(self._run.cancel)
            else:
                self._twice(self._run.resume)
            return
        with contextlib.suppress(FlowcoreError):
            self._run.signal("go", n=1)
        self._approve()
        if time.monotonic() < self._begins:
            return
        if self._plot == "cancel" and row.state is RunState.RUNNING:
            self._twice(self._run.cancel)
        elif self._plot in {"pause", "halt"} and self._turns:
            self._turns -= self._plot == "pause"
            self._begins = time.monotonic() + self._lasts
            self._twice(self._run.pause)

    def _mend(self) -> None:
        if not self._gate.exists():
            self._gate.touch()
        self._twice(self._run.resume)

    def _twice(self, what: Callable[[], object]) -> None:
        """Two people do the same at once; one of them may be refused."""
        both = [threading.Thread(target=self._quietly, args=(what,)) for _ in range(2)]
        for one in both:
            one.start()
        for one in both:
            one.join()

    def _quietly(self, what: Callable[[], object]) -> None:
        try:
            what()
        except FlowcoreError:
            pass
        except Exception as error:  # noqa: BLE001
            self.foreign.append(f"meddling: {type(error).__module__}.{error!r}")

    def _approve(self) -> None:
        runtime = self._session.runtime
        for run in (self._run.id, *family(self._session, self._run.id)):
            record = runtime.reader.record(run)
            if record is None or record.state.is_terminal:
                continue
            plan = runtime.store.get_plan(record.plan)
            for at, name in enumerate(plan.ids):
                waits = record.nodes[name].state is NodeState.WAITING
                if waits and plan.policy(at).uses == "approval":
                    way = f"{run}/{name}".partition("/")[2]
                    with contextlib.suppress(FlowcoreError):
                        self._run.approve(way)
