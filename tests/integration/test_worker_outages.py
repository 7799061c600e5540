"""Redis goes away or changes hands while a worker works: work goes on without a person."""

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from flowcore import Run
from flowcore.assembly.valkey_process import find_binary
from flowcore.errors import FlowcoreError, StoreUnreachableError
from tests.brokers import Replicated, running_replicated
from tests.command import flowcore_worker
from tests.deep import count
from tests.engine import Engine, poll, running_engine

pytestmark = pytest.mark.integration


@dataclass
class Restartable:
    """A server that keeps what it was told, on a socket of its own."""

    home: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"unix://{self.home}/s"

    def start(self) -> None:
        command = [str(find_binary()), "--port", "0", "--save", "", "--appendonly", "yes"]
        command += ["--unixsocket", f"{self.home}/s", "--dir", str(self.home)]
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        with redis.Redis.from_url(self.url) as client:
            poll(lambda: _answers(client), what="the server")

    def send(self, signum: int) -> None:
        assert self.process is not None
        self.process.send_signal(signum)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()


def _answers(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restartable]:
    made = Restartable(tmp_path_factory.mktemp("s", numbered=True))
    made.start()
    yield made
    made.stop()


def _pass(seconds: float) -> None:
    ends = time.monotonic() + seconds
    poll(lambda: time.monotonic() > ends, what="time to pass")


def _held(engine: Engine, home: Path, name: str) -> Run:
    given = {"path": str(home / "go"), "mark": str(home / name)}
    run = engine.start({"held": {"uses": "engine_nodes:wait_for", "with": given}})
    poll((home / name).exists, what="the node to begin")
    return run


def test_a_restart_of_redis_while_a_node_runs_needs_nobody(
    server: Restartable, tmp_path: Path
) -> None:
    with (
        running_engine(server.url, tmp_path) as engine,
        flowcore_worker(server.url, tmp_path, "--concurrency", "2") as command,
    ):
        worker = command.worker()
        for turn in range(2):
            run = _held(engine, tmp_path, f"mark{turn}")
            server.stop()
            server.start()
            (tmp_path / "go").write_text("went")
            assert run.wait(60).success
            assert engine.run({"a": {"uses": "spinning_nodes:where"}}).success
            (tmp_path / "go").unlink()
        assert command.worker() == worker, command.log.read_text()


def test_a_function_that_ends_while_redis_is_away_is_not_run_again(
    server: Restartable, tmp_path: Path
) -> None:
    """Its lease has run out when Redis is back, and its end comes before any sweep."""
    short = {"FLOWCORE_LEASE": "1", "FLOWCORE_HEARTBEAT": "0.25"}
    with (
        running_engine(server.url, tmp_path, lease="1", heartbeat="0.25") as engine,
        flowcore_worker(server.url, tmp_path, "--concurrency", "2", **short) as command,
    ):
        for turn in range(2):
            run = _held(engine, tmp_path, f"mark{turn}")
            server.stop()
            (tmp_path / "go").write_text("went")
            _pass(3.0)  # three leases
            server.start()
            result = run.wait(60)
            assert result.success, command.log.read_text()
            assert (tmp_path / f"mark{turn}").read_text().count("\n") == 1, "one execution"
            assert run.record().nodes["held"].attempts == 1
            (tmp_path / "go").unlink()


@pytest.mark.deep
def test_a_server_that_is_frozen_under_load_repeats_nothing(
    server: Restartable, tmp_path: Path
) -> None:
    """What was asked of it meanwhile it does when it goes on: no sweep of a janitor is among it."""
    log = tmp_path / "log"
    chain = {
        f"n{at}": {
            "uses": "engine_nodes:append_slowly",
            "with": {"path": str(log), "seconds": 0.2},
            "needs": [f"n{at - 1}"] if at else [],
        }
        for at in range(8)
    }
    short = {"lease": "2", "heartbeat": "0.5"}
    settings = {f"FLOWCORE_{name.upper()}": value for name, value in short.items()}
    with (
        running_engine(server.url, tmp_path, **short) as engine,
        flowcore_worker(server.url, tmp_path, "--concurrency", "4", **settings) as command,
    ):
        worker = command.worker()
        runs = [engine.start(chain, run_id=f"r{at}") for at in range(6)]
        poll(log.exists, what="the load to begin")
        _pass(0.5)  # a sign of life is good for less than that
        server.send(signal.SIGSTOP)
        try:
            frozen = time.monotonic()
            with pytest.raises(StoreUnreachableError, match=str(server.home)):
                engine.start(chain)
            took = time.monotonic() - frozen
            _pass(max(0.0, count(6, 20) - took))
        finally:
            server.send(signal.SIGCONT)
        assert took < 10, "some 5 seconds, on a machine that is not busy"
        for run in runs:
            result = run.wait(60)
            assert result.success, result.error
            assert {node.attempts for node in result.nodes.values()} == {1}
        begun = Counter(log.read_text().split("\n")[:-1])
        assert set(begun.values()) == {1}, begun
        assert len(begun) == len(runs) * len(chain)
        assert engine.run({"a": {"uses": "spinning_nodes:where"}}).success
        assert command.worker() == worker, command.log.read_text()


def test_nor_does_it_under_bare_celery(server: Restartable, tmp_path: Path) -> None:
    with running_engine(server.url, tmp_path) as engine:
        workers = engine.workers(slots=2)
        (before,) = workers.pids
        for turn in range(3):
            run = _held(engine, tmp_path, f"mark{turn}")
            server.stop()
            server.start()
            (tmp_path / "go").write_text("went")
            assert run.wait(60).success
            (tmp_path / "go").unlink()
        assert workers.pids == (before,), (tmp_path / "worker-0.log").read_text()


def test_a_cold_shutdown_ends_though_redis_is_away(server: Restartable, tmp_path: Path) -> None:
    with (
        running_engine(server.url, tmp_path) as engine,
        flowcore_worker(server.url, tmp_path, "--grace", "12", REMAP_SIGTERM="SIGQUIT") as command,
    ):
        _held(engine, tmp_path, "mark")
        server.stop()
        command.process.terminate()
        assert command.process.wait(timeout=60) == 0
        server.start()


def test_a_cold_shutdown_under_bare_celery_ends_though_redis_is_frozen(
    server: Restartable, tmp_path: Path
) -> None:
    with running_engine(server.url, tmp_path) as engine:
        workers = engine.workers(slots=1)
        _held(engine, tmp_path, "mark")
        server.send(signal.SIGSTOP)
        try:
            workers.end(signal.SIGQUIT)
            poll(workers.have_ended, what="the worker to end", patience=40)
        finally:
            server.send(signal.SIGCONT)


@contextmanager
def _replicated() -> Iterator[Replicated]:
    with running_replicated() as made:
        for index in (0, 1):
            with made.client(index) as client:
                client.config_set("min-replicas-to-write", 1)
                client.config_set("min-replicas-max-lag", 2)
        yield made


def test_a_planned_failover_under_load_needs_nobody(tmp_path: Path) -> None:
    with (
        _replicated() as made,
        running_engine(made.url, tmp_path, lease="2", dispatch_lease="1") as engine,
        flowcore_worker(
            made.url, tmp_path, FLOWCORE_LEASE="2", FLOWCORE_DISPATCH_LEASE="1"
        ) as command,
    ):
        nodes = {
            f"n{at}": {"uses": "engine_nodes:nap", "with": {"seconds": 0.05}} for at in range(4)
        }
        nodes |= {"end": {"uses": "passthrough", "needs": list(nodes)}}
        worker = command.worker()
        runs = [engine.start(nodes) for _ in range(20)]
        with made.client(0) as client:
            assert client.execute_command("WAIT", 1, 10_000) == 1
        made.sentinel("FAILOVER", made.NAME)
        poll(made.replica_is_promoted, what="the replica to be promoted")

        def accepted() -> bool:
            try:
                return engine.run(nodes).success
            except FlowcoreError:
                return False  # the new primary has no replica yet

        poll(accepted, what="a run after the failover")
        assert all(run.wait(60).success for run in runs)
        assert command.worker() == worker, command.log.read_text()
