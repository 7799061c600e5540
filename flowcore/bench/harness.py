"""The test stand: a server and a worker of the benchmark's own, and what can be read off them.

In: how the worker is to run. Out: runs and ceilings, measured. Not here: which flows, and what the
figures mean (throughput, metg, latency, many_runs, scaling).

The server is always a fresh embedded one in a temporary directory, never the one of
FLOWCORE_REDIS_URL: nobody else's commands are counted, and nothing is left behind.
"""

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from flowcore.assembly.session import Session
from flowcore.assembly.settings import Settings
from flowcore.assembly.supervisor import LocalWorkers
from flowcore.bench.dags import Dag, Work
from flowcore.bench.nodes import CEILING_TASK
from flowcore.bench.processes import cpu_seconds, family, forget_peak, peak_bytes, resident_bytes
from flowcore.bench.redis_counters import Usage, kept, usage
from flowcore.check.check import check
from flowcore.client.flow import start_run
from flowcore.client.run import Run
from flowcore.errors import RunFailedError, ServiceError, WaitTimeoutError
from flowcore.graph.load import load_tree
from flowcore.plan.compile import compile_plan
from flowcore.plan.plan import Plan
from flowcore.run.record import RunSummary
from flowcore.run.status import RunState
from flowcore.stores.redis.connection.connect import connect

__all__ = ["MODES", "BenchHarness", "Measured", "Worker", "compiled", "seconds_of"]

#: How nodes travel, and the value of FLOWCORE_WORK_FIRST that makes them do so.
MODES = {"grain": "on", "one-message": "off"}

#: Settings of the place where runs live: the stand has its own. Others, such as FLOWCORE_LEASE,
#: hold here too.
_PLACE = frozenset(
    f"FLOWCORE_{name}"
    for name in ("REDIS_URL", "BROKER_URL", "HOME", "QUEUE", "NAMESPACE", "ALLOWED_MODULES")
)

_READY_WITHIN = 60.0
_LOOK = 0.005
_PATIENCE = 120.0
#: A run that takes longer than this for each node hangs.
_SECONDS_PER_NODE = 0.1
#: Larger flows are warmed up with so many of their nodes, then cancelled.
_WARM = 1000
_TAIL = 2000
_UNSERVED = "unserved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Options of the measured worker."""

    pool: str = "prefork"
    slots: int = 2
    mode: str = "grain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run and what it cost."""

    nodes: int
    seconds: float
    """From the run's creation to its end, on the server's clock."""
    before: Usage
    after: Usage
    cpu: Mapping[str, float]
    """Seconds of processor time, by who used it; empty where the kernel does not tell."""
    kept: int
    """Bytes that the run occupies on the server after its end, without its plan."""
    worker_peak: int | None
    server_peak: int | None


def compiled(dag: Dag, work: Work, *, id: str | None = None) -> Plan:
    """Compile a DAG whose nodes all do the same."""
    return compile_plan(check(load_tree(dag.definition(work, id=id)), resolve=False))


class BenchHarness:
    """One server, one worker, many measurements; both end with the ``with`` block."""

    def __init__(self, worker: Worker) -> None:
        """Describe the worker; entering starts it."""
        self.worker = worker
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start the server and the worker.

        Raises:
            ServiceError: One of them does not start.
        """
        with self._open as opening:
            home = opening.enter_context(tempfile.TemporaryDirectory(prefix="flowcore-bench-"))
            own = {"FLOWCORE_HOME": home, "FLOWCORE_WORK_FIRST": MODES[self.worker.mode]}
            settings = Settings.from_env({**_without_place(os.environ), **own})
            self.session = opening.enter_context(Session(settings))
            runtime = self.session.runtime
            self.redis = connect(runtime.redis_url, unprotected=settings.unprotected_redis)
            opening.callback(self.redis.close)
            self.queue = self.session.runtime.default_queue
            self._log = Path(home) / "worker.log"
            given = self.session.worker_env(())
            where = {name: given[name] for name in ("FLOWCORE_REDIS_URL", "FLOWCORE_NAMESPACE")}
            self._workers = LocalWorkers(
                argv=self._command(), env={**_without_place(given), **where, **own}, log=self._log
            )
            opening.callback(self._workers.stop)
            self._workers.start()
            if not self._workers.wait_ready(timeout=_READY_WITHIN):
                why = self._workers.failure or f"it was not ready within {_READY_WITHIN:g} s"
                raise ServiceError(f"the worker of the benchmark did not start: {why}")
            self._pids = self._workers.pids
            self.server_pid = int(self.redis.info("server")["process_id"])
            self._open = opening.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop both, and remove what they wrote."""
        self._open.close()

    def _command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "celery", "-A", "flowcore.bench.app", "worker"),
            *("--pool", self.worker.pool, "--concurrency", str(self.worker.slots)),
            *("--queues", self.queue, "--loglevel", "WARNING"),
            *("--without-gossip", "--without-mingle"),
        ]

    def ceiling(self, tasks: int) -> float:
        """Measure independent no-op Celery tasks, from the first publish to the last ack.

        Returns:
            Tasks per second.
        """
        self.drain()
        started = time.perf_counter()
        self._publish(tasks, self.queue)
        self.drain()
        return tasks / (time.perf_counter() - started)

    def ceiling_consumed(self, tasks: int) -> float:
        """Measure the same tasks when all of them wait in the queue before the first is taken.

        Returns:
            Tasks per second.
        """
        self.drain()
        aside = f"{self.queue}.aside"
        self._publish(tasks, aside)
        started = time.perf_counter()
        # Messages of an empty queue have no key: the name is free.
        self.redis.rename(aside, self.queue)
        self.drain()
        return tasks / (time.perf_counter() - started)

    def _publish(self, tasks: int, queue: str) -> None:
        task = self.session.runtime.app.signature(CEILING_TASK)
        for _ in range(tasks):
            task.apply_async(queue=queue, ignore_result=True)

    def drain(self) -> None:
        """Wait until no message waits, and no task of the ceiling is being worked on.

        Raises:
            ServiceError: The worker has died, or has ended no message for two minutes.
        """
        last, since = -1, time.monotonic()
        while left := self.redis.llen(self.queue) + self.redis.hlen("unacked"):
            self.check()
            if left != last:
                last, since = left, time.monotonic()
            elif time.monotonic() - since > _PATIENCE:
                msg = f"the worker has ended none of {left} messages in {_PATIENCE:g} s"
                raise ServiceError(f"{msg}; the end of its log:\n{self._tail()}")
            time.sleep(_LOOK)

    def run(self, plan: Plan) -> Measured:
        """Run a flow on an idle worker and measure it.

        Raises:
            RunFailedError: It did not succeed.
            WaitTimeoutError: It hangs.
        """
        self.drain()
        workers = self.worker_pids()
        forget_peak([*workers, self.server_pid])
        before, cpu = usage(self.redis), self.cpu()
        run = start_run(self.session, plan)
        summary = self.finish(run, nodes=len(plan))
        self.drain()
        after = usage(self.redis)
        return Measured(
            nodes=len(plan),
            seconds=seconds_of(summary),
            before=before,
            after=after,
            cpu=self.cpu_since(cpu),
            kept=kept(self.redis, run.id),
            worker_peak=peak_bytes(workers),
            server_peak=peak_bytes([self.server_pid]),
        )

    def finish(
        self, run: Run, *, nodes: int, look: Callable[[], object] | None = None
    ) -> RunSummary:
        """Wait for the success of a run.

        Args:
            run: The run.
            nodes: How many nodes it has, which says when to lose patience.
            look: Called again and again while it goes on.

        Raises:
            RunFailedError: It did not succeed.
            WaitTimeoutError: It hangs.
        """
        ends = time.monotonic() + _PATIENCE + nodes * _SECONDS_PER_NODE
        events = self.session.runtime.events
        while not events.wait(run.id, timeout=_LOOK if look else 1.0):
            self.check()
            if look:
                look()
            self._lose_patience(run, ends)
        return self.succeeded(run)

    def succeeded(self, run: Run) -> RunSummary:
        """Return the row of a run that has ended well.

        Raises:
            RunFailedError: It has not.
        """
        summary = run.summary()
        if summary.state is not RunState.SUCCEEDED:
            why = f": {summary.error.type}: {summary.error.message}" if summary.error else ""
            msg = f"run {run.id!r} ended as {summary.state}{why}; the end of the worker's log:\n"
            raise RunFailedError(msg + self._tail(), run_id=run.id)
        return summary

    def _lose_patience(self, run: Run, ends: float) -> None:
        if time.monotonic() > ends:
            msg = f"run {run.id!r} hangs; the end of the worker's log:\n"
            raise WaitTimeoutError(msg + self._tail(), run_id=run.id)

    def warm_up(self, plan: Plan) -> int:
        """Run a flow, or the first thousand nodes of a large one, without measuring it.

        Returns:
            Bytes of the largest message that was seen; 0 if none was.

        Raises:
            RunFailedError: It did not succeed.
            WaitTimeoutError: It hangs.
        """
        sizes = {0}

        def look() -> None:
            sizes.update(map(len, self._waiting()))

        self.drain()
        run = start_run(self.session, plan)
        if len(plan) <= _WARM:
            self.finish(run, nodes=len(plan), look=look)
        else:
            ends = time.monotonic() + _PATIENCE + _WARM * _SECONDS_PER_NODE
            while run.summary().settled < _WARM:
                self.check()
                look()
                self._lose_patience(run, ends)
                time.sleep(_LOOK)
            run.cancel("the worker is warm")
            self.redis.delete(self.queue)
            run.wait(timeout=_PATIENCE)
        self.drain()
        return max(sizes)

    def _waiting(self) -> Iterator[bytes]:
        """Some of the messages that wait, and those that are worked on."""
        yield from self.redis.lrange(self.queue, 0, 9)
        for packed in self.redis.hvals("unacked"):
            yield json.dumps(json.loads(packed)[0]).encode()

    def first_message(self, plan: Plan) -> int:
        """Send a run's first messages to a queue without a worker, where they can be weighed.

        Returns:
            Bytes of the largest.
        """
        runtime = self.session.runtime
        settings = Settings.from_env(
            {
                "FLOWCORE_REDIS_URL": runtime.redis_url,
                "FLOWCORE_HOME": str(runtime.settings.home),
                "FLOWCORE_NAMESPACE": _UNSERVED,
            }
        )
        with Session(settings) as aside:
            run = start_run(aside, plan)
            queue = aside.runtime.default_queue
            sizes = [len(message) for message in self.redis.lrange(queue, 0, -1)]
            run.cancel("it was only to be weighed")
            self.redis.delete(queue)
        return max(sizes, default=0)

    def worker_pids(self) -> list[int]:
        """Return the worker's process and those of its pool."""
        return [pid for worker in self._pids for pid in family(worker)]

    def cpu(self) -> dict[str, float]:
        """Return the processor time that was used so far, by who used it.

        Returns:
            Seconds of the ``worker``'s first process, of its ``pool``, of the ``server`` and of the
            ``client``; empty where the kernel does not tell.
        """
        first, *pool = self.worker_pids()
        found = {
            "worker": cpu_seconds([first]),
            "pool": cpu_seconds(pool) or 0.0,
            "server": cpu_seconds([self.server_pid]),
            "client": time.process_time(),
        }
        known = {who: seconds for who, seconds in found.items() if seconds is not None}
        return known if len(known) == len(found) else {}

    def cpu_since(self, before: Mapping[str, float]) -> dict[str, float]:
        """Return what was used since ``before``, as ``cpu`` gave it."""
        return {who: seconds - before[who] for who, seconds in self.cpu().items()}

    def worker_bytes(self) -> int | None:
        """Return what the worker's processes hold now."""
        return resident_bytes(self.worker_pids())

    def check(self) -> None:
        """Refuse to measure a worker that is not the one that was warmed up.

        Raises:
            ServiceError: The worker has died.
        """
        if self._workers.failure or self._workers.pids != self._pids:
            msg = "the worker of the benchmark has died; the end of its log:\n"
            raise ServiceError(msg + self._tail())

    def _tail(self) -> str:
        try:
            return self._log.read_text("utf-8", "replace")[-_TAIL:].strip() or "(empty)"
        except OSError:
            return "(no log)"


def _without_place(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in _PLACE}


def seconds_of(summary: RunSummary) -> float:
    """Return how long a run took, from its creation to its end; at least a tick of the clock."""
    return max(round((summary.finished or 0) - summary.created, 3), 0.001)
