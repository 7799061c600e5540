"""The campaign's world: a server, two workers, a client, a proxy, and what watches them.

In: a directory and a few times. Out: everything that a fault can hit, and the means to see it.

Worker ``one`` has a clock that can be set; worker ``two`` reaches Redis through the proxy. Each
also consumes a queue of its own name, so that a run can ask a particular worker whether it lives.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import psutil

from flowcore.assembly.session import Session
from flowcore.assembly.settings import Settings
from flowcore.assembly.supervisor import LocalWorkers
from flowcore.errors import FlowcoreError
from tests.faults import crash, nodes
from tests.faults.executions import Execution, Executions
from tests.faults.ledger import Ledger
from tests.faults.proxy import Proxy
from tests.faults.server import Server

__all__ = ["Times", "Worker", "World", "find_faketime"]

_T = TypeVar("_T")

ROOT = Path(__file__).parents[2]
RUNS, BROKER = 0, 1
SLOTS = 2
UNPROTECTED = "FAULTS_UNPROTECTED"
_FAKETIME = ("/usr/lib", "/usr/local/lib", "/opt")


@dataclass(frozen=True, kw_only=True)
class Times:
    """How long things take in this world, in seconds."""

    freeze: float
    """For how long a server is stopped."""
    lease: float = 2.0
    dispatch_lease: float = 1.0
    max_lost: int = 8
    protected: bool = True
    """False: the control. No janitor, and leases that never run out."""

    @property
    def retention(self) -> float:
        """Runs must be kept for longer than anybody is kept from looking at them."""
        return 20.0 + 2 * self.freeze

    def environ(self) -> dict[str, str]:
        """The settings of workers and clients."""
        lease, dispatch = (self.lease, self.dispatch_lease) if self.protected else (3600, 3600)
        return {
            "FLOWCORE_LEASE": str(lease),
            "FLOWCORE_HEARTBEAT": "0.5",
            "FLOWCORE_DISPATCH_LEASE": str(dispatch),
            "FLOWCORE_MAX_LOST": str(self.max_lost),
            "FLOWCORE_MAX_OUTPUT": str(16 * 2**20),
            "FLOWCORE_RETENTION": str(self.retention),
        }


class Worker:
    """One supervised Celery worker."""

    def __init__(self, name: str, local: LocalWorkers, executions: Executions) -> None:
        self.name = name
        self.local = local
        self._executions = executions

    @property
    def pid(self) -> int:
        """The parent's process id; 0 between a death and the next start."""
        return next(iter(self.local.pids), 0)

    def children(self) -> list[psutil.Process]:
        """The processes of the pool."""
        try:
            return psutil.Process(self.pid).children(recursive=True) if self.pid else []
        except psutil.NoSuchProcess:
            return []

    def held(self) -> list[Execution]:
        """What its children have begun and not ended."""
        return self._executions.held(child.pid for child in self.children())


class World:
    """Everything there is."""

    def __init__(self, directory: Path, times: Times) -> None:
        """Start the server and the workers; use it as a context."""
        self.times = times
        self.hungry = False
        """Whether a fault waits for something to hit."""
        self.server = Server(directory / "server")
        self.executions = Executions(directory / "executions.log")
        self.crashes = crash.CrashPoints(directory / "crashes")
        self.gates = directory / "gates"
        self.gates.mkdir(parents=True, exist_ok=True)
        self.clock = directory / "clock"
        self.clock.write_text("+0", "ascii")
        self.faketime = find_faketime()
        self._directory = directory
        self.server.start()
        self.proxy = Proxy(self.server.port)
        self._environ = {
            **times.environ(),
            "FLOWCORE_BROKER_URL": self.server.url(BROKER),
            nodes.LOG: str(self.executions.file),
            nodes.GATE: str(self.gates),
            crash.DIRECTORY: str(self.crashes.directory),
        }
        if not times.protected:
            self._environ[UNPROTECTED] = "1"
        settings = {
            **self._environ,
            "FLOWCORE_REDIS_URL": self.server.url(RUNS),
            "FLOWCORE_HOME": str(directory),
        }
        self.session = Session(Settings.from_env(settings), environ=self._environ)
        self.queue = self.session.runtime.default_queue
        self.ledger = Ledger(
            self.session,
            retention=times.retention,
            max_lost=times.max_lost,
            gates=self.gates,
        )
        self.workers = [self._worker("one", self._clock()), self._worker("two", self._detour())]

    def __enter__(self) -> Self:
        try:
            self._start_workers()
        except BaseException:
            self._end()
            raise
        self.ledger.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ledger.__exit__()
        self._end()

    def _start_workers(self) -> None:
        for worker in self.workers:
            worker.local.start()
        for worker in self.workers:
            if not worker.local.wait_ready(timeout=90):
                raise RuntimeError(f"worker {worker.name} did not start: {worker.local.failure}")

    def _end(self) -> None:
        for worker in self.workers:
            worker.local.stop(grace=3.0)
        self.proxy.close()
        try:
            self.session.close()
        finally:
            self.server.kill()

    def find(self, condition: Callable[[], _T | None]) -> _T | None:
        """Wait for something to hit, while more runs are fed to the workers."""
        self.hungry = True
        try:
            return self.wait_for(condition)
        finally:
            self.hungry = False

    def wait_for(self, condition: Callable[[], _T | None], *, patience: float = 15.0) -> _T | None:
        """Poll until ``condition()`` gives something; None when it does not."""
        ends = time.monotonic() + patience
        while not (found := condition()):
            if time.monotonic() > ends:
                return None
            time.sleep(0.01)
        return found

    def busy(self, *, but: Worker | None = None) -> Worker | None:
        """A worker that is in the middle of something, with all its pool alive."""
        for worker in self.workers:
            if worker is not but and len(worker.children()) == SLOTS and worker.held():
                return worker
        return None

    def ready(self, worker: Worker, *, not_pid: int = 0) -> bool:
        """Whether the worker has said that it consumes, as another process than ``not_pid``."""
        pid = worker.pid
        if not pid or pid == not_pid:
            return False
        try:
            return any(note.pid == pid for note in self.session.runtime.board.workers())
        except FlowcoreError:
            return False

    def waiting(self) -> list[bytes]:
        """Messages of the default queue, as the broker has them."""
        with self.server.client(BROKER) as broker:
            found: list[bytes] = broker.lrange(self.queue, 0, -1)
            return found

    def _worker(self, name: str, environ: dict[str, str]) -> Worker:
        argv = [
            *(sys.executable, "-m", "tests.faults.worker_main"),
            *("-A", "tests.faults.worker_app", "worker"),
            *("--hostname", f"{name}@%h", "--concurrency", str(SLOTS), "--loglevel", "WARNING"),
            *("--queues", f"{self.queue},{self.session.runtime.queue(name)}"),
            *("--without-gossip", "--without-mingle"),
        ]
        env = {**self.session.worker_env([ROOT]), **environ}
        log = self._directory / f"{name}.log"
        local = LocalWorkers(argv=argv, env=env, log=log, cwd=ROOT)
        return Worker(name, local, self.executions)

    def _detour(self) -> dict[str, str]:
        return {
            "FLOWCORE_REDIS_URL": self.server.url(RUNS, port=self.proxy.port),
            "FLOWCORE_BROKER_URL": self.server.url(BROKER, port=self.proxy.port),
        }

    def _clock(self) -> dict[str, str]:
        if self.faketime is None:
            return {}
        return {
            "LD_PRELOAD": str(self.faketime),
            "FAKETIME_TIMESTAMP_FILE": str(self.clock),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def find_faketime() -> Path | None:
    """Find libfaketime, if this machine has it (``apt-get install faketime``).

    The one for many threads has a mutex around its clock, which a child may inherit locked.
    """
    for root in _FAKETIME:
        for pattern in ("faketime/libfaketime.so.1", "*/faketime/libfaketime.so.1"):
            for found in Path(root).glob(pattern):
                return found if os.access(found, os.R_OK) else None
    return None
