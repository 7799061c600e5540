"""A session on the embedded default: server and workers of its own."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowcore import Flow, Session
from flowcore.assembly.settings import Settings
from flowcore.client.flow import start_run
from flowcore.stores.redis.connection.connect import connect
from tests.engine import MODULES, poll


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    settings = Settings.from_env({"FLOWCORE_HOME": str(tmp_path / "home"), "FLOWCORE_LEASE": "2"})
    with Session(settings) as session:
        yield session


@pytest.mark.timeout(180)
def test_a_run_outlives_a_server_that_is_killed_under_it(session: Session, tmp_path: Path) -> None:
    go, mark = tmp_path / "go", tmp_path / "mark"
    nodes = {
        "first": {"uses": "engine_nodes:numbers"},
        "hold": {
            "uses": "engine_nodes:wait_for",
            "with": {"path": str(go), "mark": str(mark), "seconds": 120},
            "needs": ["first"],
        },
        "total": {"uses": "engine_nodes:total", "needs": ["first", "hold"]},
    }
    plan = Flow.load({"id": "outlive", "nodes": nodes}).plan()
    session.ensure_workers(plan.queues, paths=[MODULES])
    handle = start_run(session, plan)
    poll(mark.exists, what="the node to run")
    assert session._server is not None
    os.kill(session._server.pid, signal.SIGKILL)
    go.write_text("went")
    result = handle.wait(timeout=120)
    assert result.success, result.error
    assert result.output == 10


def test_a_session_stops_its_workers_and_its_server(tmp_path: Path) -> None:
    settings = Settings.from_env({"FLOWCORE_HOME": str(tmp_path / "home")})
    with Session(settings) as session:
        session.ensure_workers([None])
        workers = session._workers[0]
        assert workers.wait_ready(timeout=60)
        pids = workers.pids
        url = session.runtime.redis_url
        assert connect(url).ping()
    ends = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < ends, "a worker is left"
        time.sleep(0.02)
    assert not Path(url.removeprefix("unix://")).exists()
