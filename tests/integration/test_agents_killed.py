"""The process that hosts agents is killed at random points: nothing is lost or answered twice."""

import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from flowcore import TaskState
from flowcore.agents.message import artifacts_of
from flowcore.client.agents import AgentClient
from tests.deep import count
from tests.integration.conftest import MakeEngine

pytestmark = [pytest.mark.integration, pytest.mark.timeout(count(180, 900))]

SETTINGS = {
    "lease": "2.0",
    "heartbeat": "0.25",
    "dispatch_lease": "1.0",
    "agents": "hard_agents",
    "max_lost": "1000",
}


def _hosts(worker: int) -> list[int]:
    """The processes in which agents of a worker run."""
    found = []
    for child in psutil.Process(worker).children(recursive=True):
        try:
            parent = child.parent()
            if "agent_process" in " ".join(child.cmdline()) and parent and parent.pid != worker:
                found.append(child.pid)
        except psutil.NoSuchProcess:
            continue
    return found


def test_nothing_is_lost_or_answered_twice_though_hosts_are_killed(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    dice = random.Random(51)
    with make_engine(tmp_path, **SETTINGS) as engine:
        workers = [engine.workers(pool="solo") for _ in range(2)]
        client = AgentClient(engine.session)
        over = threading.Event()
        kills: list[int] = []

        def kill() -> None:
            while len(kills) < count(3, 60) and not over.wait(dice.uniform(0.1, 1.0)):
                hosts = _hosts(dice.choice(workers).pids[0])
                if hosts:
                    kills.append(dice.choice(hosts))
                    try:
                        os.kill(kills[-1], signal.SIGKILL)
                    except ProcessLookupError:
                        kills.pop()

        killer = threading.Thread(target=kill)
        killer.start()
        said: dict[str, Any] = {}
        for number in range(count(30, 200)):
            given = {"path": str(tmp_path / f"log-{number}"), "seconds": dice.uniform(0, 0.3)}
            said[client.start("naps-and-tells", given)] = number
            if number % 10 == 0:
                assert client.send("hello", str(number), timeout=90).text == f"hello {number}"
        killer.join(count(120, 900))
        for task in said:
            assert client.wait(task, timeout=90).text == "rested"
            updates = list(client.follow(task))
            ends = [each for each in updates if each.state.is_terminal]
            assert [each.state for each in ends] == [TaskState.COMPLETED]
            assert len(artifacts_of(updates)) == 1
        over.set()
        assert len(kills) == count(3, 60)
        assert not client.dead_letters()
