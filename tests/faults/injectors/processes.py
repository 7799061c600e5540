"""F1, F2, F3, F11: processes that die, stop, run out of memory or are replaced.

In: the world's workers. Out: faults. Proof is what they held when it happened.
"""

import contextlib
import os
import resource
import signal
import time
from collections.abc import Iterable

import psutil

from flowcore.client.run import Run
from flowcore.errors import FlowcoreError
from flowcore.run.event import EventType
from tests.faults.executions import Execution
from tests.faults.flows import hog_case
from tests.faults.injectors.base import Fault, are_dead
from tests.faults.world import SLOTS, Worker

__all__ = ["KillChild", "KillWorker", "OutOfMemory", "RollingRestart", "SlowConsumer", "StopWorker"]

_HEADROOM = 48 * 2**20


def _shown(held: Iterable[Execution]) -> str:
    return ", ".join(map(str, held))


class KillWorker(Fault):
    """F1."""

    family, title = "F1", "kill -9 of a worker's parent"

    def inject(self) -> None:
        worker = self.world.find(self.world.busy)
        if worker is None:
            return
        pid, children = worker.pid, [child.pid for child in worker.children()]
        self.begin()
        os.kill(pid, signal.SIGKILL)
        gone = self.world.wait_for(lambda: are_dead([pid, *children]), patience=10)
        held = self.world.executions.held(children)
        if gone and held:
            self.proof = f"process {pid} died with its pool, which held {_shown(held)}"


class KillChild(Fault):
    """F2."""

    family, title = "F2", "kill -9 of a pool child"

    def inject(self) -> None:
        worker = self.world.find(self.world.busy)
        held = worker.held() if worker else []
        if not held:
            return
        victim = held[0].pid
        self.begin()
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        gone = self.world.wait_for(lambda: are_dead([victim]), patience=10)
        if gone and (left := self.world.executions.held([victim])):
            self.proof = f"child {victim} died, which held {_shown(left)}"


class OutOfMemory(Fault):
    """F2, the other half: no memory above what a child has."""

    family, title = "F2", "a worker's pool out of memory (RLIMIT_AS)"

    def inject(self) -> None:
        run = f"hog-{time.monotonic_ns()}"
        children = self.world.wait_for(self._all_children) or []
        self.begin()
        limited = [child for child in children if _limit(child)]
        self.world.ledger.submit(run, hog_case())
        error = self.world.wait_for(lambda: self._refused(run), patience=15)
        for child in limited:
            _lift(child)
        self.end()
        if error:
            self.proof = f"{len(limited)} children limited; {run} failed an attempt: {error}"

    def _all_children(self) -> list[psutil.Process] | None:
        workers = self.world.workers
        children = [child for worker in workers for child in worker.children()]
        return children if len(children) == SLOTS * len(workers) else None

    def _refused(self, run: str) -> str | None:
        try:
            events = self.world.session.runtime.events.read(run)
        except FlowcoreError:
            return None
        for event in events:
            error = event.data.get("error") or {}
            if error.get("type") == "MemoryError":
                return f"MemoryError in attempt {event.attempt}"
        return None


def _limit(child: psutil.Process) -> bool:
    try:
        used = child.memory_info().vms
        resource.prlimit(child.pid, resource.RLIMIT_AS, (used + _HEADROOM, resource.RLIM_INFINITY))
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    return True


def _lift(child: psutil.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(child.pid, resource.RLIMIT_AS, unlimited)


class StopWorker(Fault):
    """F3."""

    family, title = "F3", "SIGSTOP of a worker for two leases"

    def inject(self) -> None:
        worker = self.world.find(self.world.busy)
        if worker is None:
            return
        family = [psutil.Process(worker.pid), *worker.children()]
        self.begin()
        for process in family:
            process.suspend()
        held = worker.held()
        time.sleep(2 * self.world.times.lease)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()
        if taken := self.world.wait_for(lambda: [one for one in held if self._lost(one)]):
            self.proof = f"stopped {worker.name} with its pool, which lost {_shown(taken)}"

    def _lost(self, one: Execution) -> bool:
        try:
            events = self.world.session.runtime.events.read(one.run)
        except FlowcoreError:
            return False
        return any(
            event.type is EventType.NODE_LOST
            and (event.node, event.attempt) == (one.node, one.attempt)
            for event in events
        )


class RollingRestart(Fault):
    """F11: SIGTERM, one worker after the other, as a deployment does."""

    family, title = "F11", "rolling restart of the workers"

    def inject(self) -> None:
        self.begin()
        told = [self._restart(worker) for worker in self.world.workers]
        self.end()
        if all(told):
            self.proof = "; ".join(told)

    def _restart(self, worker: Worker) -> str:
        held = self.world.find(worker.held)
        pid = worker.pid
        if not held or not pid:
            return ""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        back = self.world.wait_for(lambda: self.world.ready(worker, not_pid=pid), patience=40)
        return f"{worker.name}: {pid} with {_shown(held)}, then {worker.pid}" if back else ""


class SlowConsumer(Fault):
    """F11: a reader of events that is slower than what it reads."""

    family, title = "F11", "a slow consumer of a run's events"

    def inject(self) -> None:
        opened = self.world.find(self.world.ledger.open)
        if not opened:
            return
        self.begin()
        run = Run(opened[-1], session=self.world.session)
        seen = []
        try:
            for event in run.events():
                seen.append(event.id)
                time.sleep(0.1)
        except FlowcoreError:
            return
        if seen != list(range(1, len(seen) + 1)):
            self.world.ledger.problems.append(f"{run.id}: a slow reader saw the events {seen}")
        self.proof = f"read {len(seen)} events of {run.id}, ten a second, to its end"
