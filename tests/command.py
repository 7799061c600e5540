"""``flowcore worker`` as a command of its own, for tests."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.engine import MODULES, poll

__all__ = ["GRACE", "Command", "flowcore_worker"]

GRACE = 4


@dataclass(frozen=True)
class Command:
    """A running ``flowcore worker``."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def worker(self) -> psutil.Process:
        """The worker's parent process: the supervisor's only child."""

        def only() -> psutil.Process | None:
            children = psutil.Process(self.process.pid).children()
            return children[0] if len(children) == 1 else None

        found: psutil.Process = poll(only, what="the worker")
        return found

    def ready(self, times: int = 1) -> None:
        def said() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return self.log.read_text().count(" ready.") >= times

        poll(said, what=f"the worker to be ready, {times} times")


@contextmanager
def flowcore_worker(url: str, home: Path, *more: str, **env: str) -> Iterator[Command]:
    """Start one on a server; whatever is left of it is killed."""
    log = home / f"command-{time.monotonic_ns()}.log"
    given = {
        **os.environ,
        "FLOWCORE_REDIS_URL": url,
        "FLOWCORE_HOME": str(home),
        "FLOWCORE_LOG_LEVEL": "INFO",
        **env,
    }
    given["PYTHONPATH"] = os.pathsep.join([str(MODULES), str(Path(__file__).parents[1])])
    command = [
        str(Path(sys.executable).with_name("flowcore")),
        "worker",
        "--grace",
        str(GRACE),
        *more,
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=given, cwd=home, stdout=out, stderr=subprocess.STDOUT
        )
    family: list[psutil.Process] = []
    try:
        started = Command(process, log)
        started.ready()
        family = psutil.Process(process.pid).children(recursive=True)
        yield started
    finally:
        with_group = psutil.Process(process.pid).children(recursive=True) if _runs(process) else []
        process.kill()
        process.wait()
        for one in [*family, *with_group]:
            if one.is_running():
                one.kill()


def _runs(process: "subprocess.Popen[bytes]") -> bool:
    return process.poll() is None
