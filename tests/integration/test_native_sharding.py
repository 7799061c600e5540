"""Runs shared between two real servers, with one of real Celery workers."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from flowcore import Run
from flowcore.stores.redis.sharding.runs import ShardedStore
from tests.engine import Engine, poll, running_engine
from tests.services import running_valkey

SUM = {
    "numbers": {"uses": "engine_nodes:numbers"},
    "total": {"uses": "engine_nodes:total", "needs": ["numbers"]},
}


class Server:
    """A server that can be frozen, or killed and started again on its data."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url)
        info: Any = self.client.info("server")
        self._process = psutil.Process(info["process_id"])
        self._argv = self._process.cmdline()
        self._again: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        self._process.kill()
        poll(lambda: self._process.status() == psutil.STATUS_ZOMBIE, what="the server's end")

    def start(self) -> None:
        quiet = subprocess.DEVNULL
        self._again = subprocess.Popen(self._argv, stdout=quiet, stderr=quiet)

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.client.close()
        if self._again is not None:
            self._again.kill()
            self._again.wait()


@dataclass(frozen=True, kw_only=True)
class Town:
    """An engine on two servers; the first is the broker as well."""

    engine: Engine
    servers: tuple[Server, Server]

    def id_at(self, home: int) -> str:
        """A new id of a run that goes to this server."""
        store = self.engine.session.runtime.store
        assert isinstance(store, ShardedStore)
        made = (f"run-{number}" for number in count())
        return next(
            run
            for run in made
            if store.placement.home(run) == home and run not in self.runs_of(home)
        )

    def ids_at(self, home: int) -> Iterator[str]:
        """New ids of runs that go to this server, which is not asked."""
        store = self.engine.session.runtime.store
        assert isinstance(store, ShardedStore)
        made = (f"many-{number}" for number in count())
        return (run for run in made if store.placement.home(run) == home)

    def runs_of(self, at: int) -> set[str]:
        names: Any = self.servers[at].client.zrange("fc:runs", 0, -1)
        return {name.decode() for name in names}

    def hold(self, at: int, tmp_path: Path) -> Run:
        """Start a run on this server whose first node runs until the file ``go`` is there."""
        mark = tmp_path / f"mark-{at}"
        given = {"path": str(tmp_path / "go"), "mark": str(mark)}
        nodes = {
            "hold": {"uses": "engine_nodes:wait_for", "with": given},
            "after": {"uses": "engine_nodes:numbers", "needs": ["hold"]},
        }
        run = self.engine.start(nodes, run_id=self.id_at(at))
        poll(mark.exists, what="the node to run")
        return run


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with ExitStack() as stack:
        urls = [
            stack.enter_context(running_valkey()),
            stack.enter_context(running_valkey("--appendonly", "yes", "--set-proc-title", "no")),
        ]
        servers = (Server(urls[0]), Server(urls[1]))
        for server in servers:
            stack.callback(server.close)
        times = {"lease": "1.5", "heartbeat": "0.25", "dispatch_lease": "1.0"}
        engine = stack.enter_context(running_engine(",".join(urls), tmp_path, **times))
        yield Town(engine=engine, servers=servers)


def test_runs_land_on_both_servers_and_all_succeed(town: Town) -> None:
    town.engine.workers()
    runs = [town.engine.start(SUM, {"n": 4}, run_id=f"sum-{n}") for n in range(20)]
    results = [run.wait(60) for run in runs]
    assert [result.error for result in results] == [None] * 20
    assert [result.output for result in results] == [6] * 20
    first, second = town.runs_of(0), town.runs_of(1)
    assert first
    assert second
    assert first | second == {run.id for run in runs}
    assert not first & second
    listed = Run.list(limit=50, session=town.engine.session)
    assert {row.id for row in listed} == first | second
    assert [row.created for row in listed] == sorted((row.created for row in listed), reverse=True)
    for run in runs:
        events = list(run.events())
        assert [event.id for event in events] == list(range(1, len(events) + 1))
        assert events[-1].type.is_terminal


def test_a_server_that_is_killed_stops_only_its_own_runs(town: Town, tmp_path: Path) -> None:
    town.engine.workers(slots=4)
    here, there = town.hold(0, tmp_path), town.hold(1, tmp_path)
    town.servers[1].kill()
    result = town.engine.start(SUM, {"n": 4}, run_id=town.id_at(0)).wait(60)
    assert result.output == 6, result.error
    (tmp_path / "go").write_text("went")
    result = here.wait(60)
    assert result.success, result.error
    assert [row.id for row in Run.list(limit=1, flow="test", session=town.engine.session)]
    town.servers[1].start()
    poll(lambda: _answers(town.servers[1]), what="the server to be back")
    result = there.wait(60)
    assert result.success, result.error
    assert result.outputs["hold"] == "went"
    result = town.engine.start(SUM, {"n": 4}, run_id=town.id_at(1)).wait(60)
    assert result.output == 6, result.error


def _answers(server: Server) -> bool:
    try:
        return bool(server.client.ping())
    except redis.RedisError:
        return False


def test_leases_on_one_server_are_renewed_while_another_is_frozen(
    town: Town, tmp_path: Path
) -> None:
    town.engine.workers(slots=4)
    here, there = town.hold(0, tmp_path), town.hold(1, tmp_path)
    town.servers[1].freeze()
    try:
        client = town.servers[0].client
        lease = client.zscore("fc:agenda", f"{here.id}|0")
        assert lease is not None
        poll(
            lambda: (client.zscore("fc:agenda", f"{here.id}|0") or 0) > lease + 4000,
            what="two and a half leases to pass",
        )
        result = town.engine.start(SUM, {"n": 4}, run_id=town.id_at(0)).wait(60)
        assert result.output == 6, result.error
    finally:
        town.servers[1].thaw()
    (tmp_path / "go").write_text("went")
    result = here.wait(60)
    assert result.success, result.error
    assert result.nodes["hold"].attempts == 1
    result = there.wait(60)
    assert result.success, result.error
