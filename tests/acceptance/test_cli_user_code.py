"""What a user's code cannot do to the commands that keep its workers."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.engine import poll

pytestmark = pytest.mark.acceptance

MODULE = """
import os, re
def spin():
    with open("mark", "a") as mark:
        mark.write(f"{os.getpid()}\\n")
    re.match("(a+)+$", "a" * 60 + "!")
"""
FLOW = "nodes:\n  spin: {uses: 'steps:spin', timeout: 2s}\n"
AGENTS = """
import os, signal
from flowcore import agent
with open("imports", "a") as file:
    file.write(f"{os.getpid()}\\n")
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
@agent("wild")
def wild(message):
    return "tamed"
"""


@dataclass(frozen=True)
class Project:
    """A directory with flows, and an embedded server of its own."""

    home: Path

    @property
    def env(self) -> dict[str, str]:
        return {**os.environ, "FLOWCORE_HOME": str(self.home / "home"), "PYTHONPATH": ""}

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("flowcore")), *words],
            cwd=self.home,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def processes(self) -> list[psutil.Process]:
        """All that live and were started for this project, whoever their parents are."""
        found = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get("FLOWCORE_HOME") == self.env["FLOWCORE_HOME"]
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    (tmp_path / "steps.py").write_text(MODULE)
    (tmp_path / "wild_agents.py").write_text(AGENTS)
    (tmp_path / "flow.yaml").write_text(FLOW)
    (tmp_path / "endless.yaml").write_text(FLOW.replace(", timeout: 2s", ""))
    made = Project(tmp_path)
    yield made
    for process in made.processes():
        process.kill()


def _gone(project: Project) -> Callable[[], bool]:
    return lambda: not project.processes()


def test_a_run_whose_node_spins_ends_with_its_time_limit(project: Project) -> None:
    command = project.start("run", "flow.yaml", "--id", "r1", "-o", "json")
    out, err = command.communicate(timeout=120)
    assert command.returncode == 1, err
    record: dict[str, Any] = json.loads(out)
    assert record["nodes"]["spin"]["error"]["type"] == "NodeTimeoutError"
    assert record["nodes"]["spin"]["attempts"] == 1
    assert len((project.home / "mark").read_text().split()) == 1
    poll(_gone(project), what="all processes to be gone")


def test_ctrl_c_ends_a_run_whose_node_spins_and_leaves_nothing_behind(project: Project) -> None:
    command = project.start("run", "endless.yaml")
    poll((project.home / "mark").exists, what="the node to begin")
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=120)
    assert command.returncode == 130, err
    assert "Traceback" not in err
    assert len((project.home / "mark").read_text().split()) == 1
    poll(_gone(project), what="all processes to be gone")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_process_that_keeps_a_worker_imports_none_of_its_modules(
    project: Project, signum: int
) -> None:
    more = ("--include", "wild_agents", "--concurrency", "1")
    command = project.start("worker", "--agents", "wild_agents", *more)
    imports = project.home / "imports"
    poll(lambda: imports.exists() and len(imports.read_text().split()) > 1, what="the agents")
    assert str(command.pid) not in imports.read_text().split()
    command.send_signal(signum)
    command.communicate(timeout=120)
    poll(_gone(project), what="all processes to be gone")


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise ValueError('no luck')", "cannot import the agents of 'wild_agents': no luck"),
        ("import os; os._exit(3)", "the import of wild_agents ends Python: exit status 3"),
        ("x = 1", "module 'wild_agents' has no agents"),
        (
            "import os; os.close(1); os.closerange(3, 9); import signal; raise SystemExit",
            "wild_agents",
        ),
    ],
)
def test_a_module_of_agents_that_is_of_no_use_is_named_at_once(
    project: Project, code: str, why: str
) -> None:
    (project.home / "wild_agents.py").write_text(code)
    command = project.start("worker", "--agents", "wild_agents")
    _, err = command.communicate(timeout=60)
    assert command.returncode == 2, err
    assert why in err
    assert "Traceback" not in err
    poll(_gone(project), what="all processes to be gone")
