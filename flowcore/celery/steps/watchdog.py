"""The watchdog of a process pool: the parent keeps time for children that cannot (a bootstep).

In: the table in which children write what they run. Out: leases of children that spin are kept;
what they hold and have not begun goes to others; those that outlive a time limit or a cancel are
ended, with the true cause on record. Not here: the table (engine.attempts.work_table), the
decisions (engine.worker.liveness, engine.worker.overtime).

The parent runs no user code, so nothing that a node does can stop this thread. A child that is
stopped, dead or frozen is neither heard nor on the CPU: its lease runs out.
"""

import contextlib
import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from celery import bootsteps
from celery.concurrency.prefork import TaskPool
from celery.exceptions import Ignore, Retry

from flowcore.celery.node_runner import NodeHost
from flowcore.celery.parent_records import lose_for, settle_for, speak_for
from flowcore.celery.pools import refuse_greenlets
from flowcore.celery.tasks import NodeFailed
from flowcore.engine.attempts.heartbeat import STOP_GRACE
from flowcore.engine.attempts.work_table import RunningWork, WorkTable
from flowcore.engine.worker.liveness import (
    TICKS,
    CpuWatch,
    Excess,
    descendants,
    excess,
    is_heard,
    read_usage,
)
from flowcore.engine.worker.overtime import outcome_of
from flowcore.errors import FlowcoreError
from flowcore.ports.store import AttemptRef
from flowcore.ports.unit import UnitProgress, UnitRef

__all__ = ["Watchdog", "WatchdogStep"]

_log = logging.getLogger(__name__)

#: Seconds between two looks at the children.
_LOOK = 0.25

#: Seconds that a child has after a time limit, to end its node and clean up by itself.
GRACE = 1.5

#: Seconds on the CPU that it has after a limit that counts these alone.
_BUSY_GRACE = 1.0

#: Seconds that it has after it was asked to end its node: it is asked, then forced, then ended.
_STOP_GRACE = STOP_GRACE + 1.25

#: Seconds that a child has after its run was cancelled if it cannot even be asked.
_UNHEARD_GRACE = 0.75

#: Heartbeats after which a child that was neither heard nor on the CPU is ended: its lease is over
#: for long, and its slot is of no use to anybody.
_FROZEN = 12

#: Seconds after which a child that is not heard is spoken for.
_SPOKEN_FOR = 1.0

#: Seconds after which a process whose CPU time does not grow is not on the CPU.
_OFF_CPU = 1.5

#: Heartbeats after which a child counts as not heard.
_OVERDUE = 1.5

#: Children for which there is room, at least: a pool may grow.
_ROOM = 256

#: Seconds to wait for a signal that stops a process.
_STOPPED_WITHIN = 0.2

_OVER = {
    Excess.TIMEOUT: "continues after its time limit",
    Excess.CANCELLED: "continues after its cancellation",
    Excess.FROZEN: "is frozen",
}


@dataclass(slots=True)
class _Seen:
    """The watchdog's view of one child's work."""

    serial: int
    renewed: float = 0.0
    spoken: bool = False
    """Whether the store was told what it runs, and was given back what it has not begun."""
    asked: float | None = None
    """Since when its run is known to be stopping, or its lease to be lost."""
    lost: bool = False
    over: bool = False
    """Whether the last look found it over its limit."""
    silent: int = 0
    """Looks in a row that have found it neither heard nor on the CPU."""
    late: tuple[float, int] | None = None
    """A limit for time on the CPU that is over, and the CPU time of the child when it was."""


class Watchdog:
    """Looks after the children of one worker."""

    def __init__(
        self,
        *,
        table: WorkTable,
        host: NodeHost,
        worker: str,
        children: Callable[[], Iterable[tuple[int, int]]],
        interval: float,
    ) -> None:
        """Watch.

        Args:
            table: What they write into.
            host: Records, in this process.
            worker: This worker's name.
            children: Gives the number and the process id of each child there is.
            interval: Seconds between two heartbeats.
        """
        self._table = table
        self._host = host
        self._worker = worker
        self._children = children
        self._interval = interval
        self._cpu = CpuWatch(patience=_OFF_CPU)
        self._seen: dict[int, _Seen] = {}

    def look(self) -> None:
        """Look at all children once."""
        pids = set()
        for index, pid in self._children():
            work = self._table.read(index)
            if work is None or work.pid != pid:
                continue
            pids.add(pid)
            try:
                self._look_at(index, work)
            except FlowcoreError as error:
                _log.warning("the work of process %d is not looked after: %s", pid, error)
        self._cpu.keep(frozenset(pids))
        self._seen = {pid: seen for pid, seen in self._seen.items() if pid in pids}

    def _look_at(self, index: int, work: RunningWork) -> None:
        now = time.monotonic()
        seen = self._seen.get(work.pid)
        if seen is None or seen.serial != work.serial:
            seen = self._seen[work.pid] = _Seen(work.serial)
        running = self._cpu.is_running(work.pid, now)
        heard = is_heard(work, now, patience=_OVERDUE * self._interval)
        # Looks are counted, and not seconds: this process may have been stopped itself.
        seen.silent = 0 if running or heard else seen.silent + 1
        if running and not heard:
            self._speak_for(index, work, seen, now)
        why = self._why(work, seen, now, heard=heard)
        # Twice: this process may have been stopped together with its children.
        over, seen.over = seen.over, why is not None
        if why is not None and over:
            self._end(index, work, why, seen)

    def _why(self, work: RunningWork, seen: _Seen, now: float, *, heard: bool) -> Excess | None:
        if seen.asked is not None and not heard and now - seen.asked > _UNHEARD_GRACE:
            return Excess.CANCELLED
        if seen.silent * _LOOK > _FROZEN * self._interval and _is_frozen(work.pid):
            return Excess.FROZEN
        why = excess(work, now, grace=0.0 if work.busy else GRACE, stop_grace=_STOP_GRACE)
        if why is Excess.TIMEOUT and work.busy and not self._was_busy(work, seen):
            return None  # it waits for the store
        return why

    def _was_busy(self, work: RunningWork, seen: _Seen) -> bool:
        """Return whether a child was on the CPU, not waiting, for the grace after its limit."""
        ticks = self._cpu.ticks(work.pid)
        if not ticks:
            seen.late = None
            return False
        if seen.late is None or seen.late[0] != work.deadline:
            seen.late = (work.deadline or 0.0, ticks)
        return ticks - seen.late[1] >= _BUSY_GRACE * TICKS

    def _speak_for(self, index: int, work: RunningWork, seen: _Seen, now: float) -> None:
        """Do for a child that cannot what its own threads would."""
        if now - seen.renewed >= self._interval:
            seen.renewed = now
            held = _held(work)
            if work.places:
                self._host.services.shared.limiter.renew(list(work.places))
            verdict = self._host.services.store.renew([held]).get(held)
            if verdict is not None:
                seen.asked = seen.asked or now
                seen.lost = verdict
        if work.unit and not seen.spoken and now - work.started > _SPOKEN_FOR:
            self._give_back(index, work, now)
            seen.spoken = True

    def _give_back(self, index: int, work: RunningWork, now: float) -> None:
        """Let others have what a unit has not begun, and tell the store what it is at."""
        news = UnitProgress(
            current=work.node,
            since=round((now - work.started) * 1000),
            give_back=True,
            keep=work.ran,
            proxy=True,
        )
        unit = UnitRef(run=work.run, unit=work.unit)
        if speak_for(self._host, unit, work.plan, news, worker=self._worker).accepted:
            self._table.tell(index, work.serial)

    def _end(self, index: int, work: RunningWork, why: Excess, seen: _Seen) -> None:
        """End a child; what its attempt came to is on record before it is dead.

        It is stopped first: whatever it would still say comes either before the record or never.
        """
        with contextlib.suppress(ProcessLookupError):
            if not _stop(work.pid):
                return
            try:
                now = self._table.read(index)
                if now is None or (now.serial, now.deadline) != (work.serial, work.deadline):
                    return  # it has gone on meanwhile, perhaps to a fallback
                told = self._told(index, now, why, seen)
                self._host.ended[work.pid] = told
                _log.warning(
                    "process %d is ended: node %d of run %s %s",
                    *(work.pid, work.node, work.run, _OVER[why]),
                )
                _kill(work.pid)
            finally:
                os.kill(work.pid, signal.SIGCONT)

    def _told(self, index: int, work: RunningWork, why: Excess, seen: _Seen) -> Exception:
        """Record what has to be; return what Celery is told of the message."""
        if why is Excess.FROZEN:
            self._lose(work)
            return Ignore()
        return Ignore() if seen.lost else self._record(index, work, why, seen)

    def _lose(self, work: RunningWork) -> None:
        """Let others have what a child holds that is as good as dead."""
        lose_for(self._host, _held(work), work.plan, work, worker=self._worker)

    def _record(self, index: int, work: RunningWork, why: Excess, seen: _Seen) -> Exception:
        """Record what the work came to; return what Celery is told of its message."""
        if work.unit:
            if not seen.spoken:
                self._give_back(index, work, time.monotonic())
            self._lose(work)
            return Ignore()
        plan = self._host.services.store.get_plan(work.plan)
        outcome = outcome_of(why, work, plan, worker=self._worker, random=random.random)
        ticket = AttemptRef(run=work.run, node=work.node, attempt=work.attempt, turn=work.turn)
        advance = settle_for(self._host, ticket, work.plan, outcome, worker=self._worker)
        if outcome.kind == "cancelled":
            self._host.show_cancelled(ticket, work.plan, worker=self._worker)
        if outcome.failure is None or outcome.kind == "cancelled" or not advance.accepted:
            return Ignore()
        failed = NodeFailed(f"{outcome.failure.type}: {outcome.failure.message}")
        return failed if outcome.kind == "failed" else Retry(str(failed), exc=failed)


def _is_frozen(pid: int) -> bool:
    """Return whether a silent process is known to be frozen, other than by a debugger."""
    usage = read_usage(pid)
    return usage is not None and not usage.is_traced


def _held(work: RunningWork) -> AttemptRef | UnitRef:
    """Return what the lease is for."""
    if work.unit:
        return UnitRef(run=work.run, unit=work.unit)
    return AttemptRef(run=work.run, node=work.node, attempt=work.attempt, turn=work.turn)


def _kill(pid: int) -> None:
    """Kill a process that is stopped, with all that it has started."""
    family = descendants(pid)
    os.kill(pid, signal.SIGKILL)
    for each in family:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(each, signal.SIGKILL)


def _stop(pid: int) -> bool:
    """Stop a process, and wait until it is; say whether it is."""
    os.kill(pid, signal.SIGSTOP)
    ends = time.monotonic() + _STOPPED_WITHIN
    while (usage := read_usage(pid)) is not None and usage.can_run:
        if time.monotonic() > ends:
            os.kill(pid, signal.SIGCONT)
            return False
        time.sleep(0.001)
    if usage is None:
        time.sleep(0.005)  # the kernel does not tell: a signal takes less
    return True


class WatchdogStep(bootsteps.StartStopStep):
    """Makes the table before the pool forks, and a thread that looks at it."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **options: Any) -> None:
        """Celery makes one for each worker, before any step starts."""
        super().__init__(worker, **options)
        self._table: WorkTable | None = None
        known = isinstance(worker.pool_cls, type)
        if known:
            refuse_greenlets(worker.pool_cls)
        forks = known and issubclass(worker.pool_cls, TaskPool)
        if forks and worker.pool_start_method == "fork":
            most = max(worker.max_concurrency or 0, 2 * (worker.concurrency or 0), _ROOM)
            self._table = worker.app.flowcore.table = WorkTable(most)
            worker.app.flowcore.tie = os.pipe()

    def start(self, worker: Any) -> None:
        """Begin to look, for ever: a shutdown that waits for children has them ended by this."""
        if self._table is None:
            return
        bridge = worker.app.flowcore
        watchdog = Watchdog(
            table=self._table,
            host=bridge.host(),
            worker=worker.hostname,
            children=lambda: _children(worker),
            interval=bridge.options.heartbeat,
        )
        threading.Thread(
            target=_run, args=(watchdog,), name="flowcore-watchdog", daemon=True
        ).start()


def _children(worker: Any) -> list[tuple[int, int]]:
    processes = getattr(getattr(worker.pool, "_pool", None), "_pool", None) or ()
    return [(process.index, process.pid) for process in list(processes) if process.pid]


def _run(watchdog: Watchdog) -> None:
    while True:
        time.sleep(_LOOK)
        try:
            watchdog.look()
        except Exception:  # noqa: BLE001  (whatever it is, nobody else would keep time)
            _log.exception("unexpected error in the watchdog")
