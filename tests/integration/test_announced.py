"""What live workers announce, and a check of a stranger's definition against it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowcore import AgentClient
from flowcore.check.check import check
from flowcore.errors import VersionMismatchError
from flowcore.graph.diagnostic import InvalidFlowError
from flowcore.graph.load import load_tree
from flowcore.ports.workers import WorkerInfo
from flowcore.run.protocol import WIRE
from tests.engine import MODULES, Engine, poll
from tests.integration.conftest import MakeEngine

pytestmark = [pytest.mark.integration]

OTHER = WorkerInfo(
    id="other", name="celery@old", queues=("q",), concurrency=1, pool="solo", pid=3, wire=WIRE - 1
)


@pytest.fixture(scope="module")
def engine(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A worker that was started with a module of nodes and one of agents."""
    home = tmp_path_factory.mktemp("announced")
    with make_engine(home, agents="some_agents", heartbeat="0.25") as engine:
        engine.workers(include="decorated_nodes")
        yield engine


def test_a_definition_is_checked_against_what_live_workers_announce(engine: Engine) -> None:
    found = poll(
        lambda: (
            {"decorated_nodes:shy", "some_agents:echo"} <= (names := engine.session.announced())
            and names
        ),
        what="the names",
    )
    assert "engine_nodes:numbers" not in found, "its module was not given"
    good = {"a": {"uses": "decorated_nodes:shy"}, "b": {"uses": "some_agents:echo", "with": {}}}
    assert check(load_tree({"nodes": good}), announced=found).order == ("a", "b")
    for name in ("engine_nodes:numbers", "decorated_nodes:RETRY", "os:system", "not_here:f"):
        with pytest.raises(InvalidFlowError, match="no live worker announces it"):
            check(load_tree({"nodes": {"a": {"uses": name}}}), announced=found)
    assert not {"decorated_nodes", "some_agents"} & set(sys.modules), "nothing was imported here"


def test_the_parent_of_a_pool_imports_no_agents(engine: Engine) -> None:
    poll(lambda: "some_agents:echo" in engine.session.announced(), what="the names")
    (pid,) = engine.started[0].pids
    log = (engine.home / "worker-0.log").read_text()
    assert "hosts the agents" in log
    (note,) = engine.session.runtime.board.workers()
    assert note.pid == pid
    with engine.session.runtime.store.client as client:
        kept = client.hgetall("fc:workers:callables")
    assert b"decorated_nodes:shy" in kept[note.id.encode()]
    assert b"some_agents" not in kept[note.id.encode()]
    assert b"some_agents:echo" in kept[f"{note.id}+".encode()]


def test_nothing_is_said_to_an_agent_beside_a_worker_of_another_number(engine: Engine) -> None:
    board = engine.session.runtime.board
    client = AgentClient(engine.session)
    poll(lambda: any(note.name == "echo" for note in client.agents()), what="the card")
    board.post(OTHER, keep=60)
    engine.session.runtime.peers._until = float("-inf")  # as after some seconds
    try:
        with pytest.raises(VersionMismatchError, match=r"celery@old .* is older"):
            client.send("echo", "hello")
    finally:
        board.remove(OTHER.id)
    assert client.send("echo", "hello").text == "hello"


def test_a_worker_command_names_a_module_that_it_cannot_import(tmp_path: Path) -> None:
    env = {**os.environ, "FLOWCORE_HOME": str(tmp_path), "PYTHONPATH": str(MODULES)}
    env["FLOWCORE_REDIS_URL"] = "redis://127.0.0.1:1/0"
    argv = [sys.executable, "-m", "flowcore.cli", "worker", "--include", "decorated_nodes,nowhere"]
    ended = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=100)
    assert ended.returncode == 2
    assert "cannot import the nodes of 'nowhere'" in ended.stderr
