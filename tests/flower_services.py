"""A real Flower for tests: a process from ``.venv-flower``, asked over HTTP."""

import base64
import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.engine import poll

__all__ = [
    "FLOWER_BIN",
    "ROOT",
    "FlowerSite",
    "free_port",
    "need_flower",
    "running",
    "running_flower",
]

ROOT = Path(__file__).parents[1]
FLOWER_BIN = ROOT / ".venv-flower" / "bin"


def need_flower() -> None:
    """Skip without Flower's environment; in CI that is a failure."""
    if (FLOWER_BIN / "celery").exists():
        return
    why = "no .venv-flower: 'make .venv-flower/.synced' makes it"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(why)
    pytest.skip(why)


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    argv: list[str], *, env: Mapping[str, str], cwd: Path, log: Path, stop: int = signal.SIGTERM
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process in a group of its own, which ends as a whole with the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.send_signal(stop)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass(frozen=True, kw_only=True)
class FlowerSite:
    """Flower's address, and what its API answers there."""

    url: str
    auth: str | None = None

    def get(self, path: str, method: str = "GET", **query: Any) -> str:
        """The text of an answer."""
        url = f"{self.url}{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, method=method)
        if self.auth:
            token = base64.b64encode(self.auth.encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            text: str = answer.read().decode()
            return text

    def json(self, path: str, **query: Any) -> Any:
        """An answer's data."""
        return json.loads(self.get(path, **query))

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            return self.get("/healthcheck") == "OK"
        except (urllib.error.URLError, ConnectionError):
            return False

    def hears_events(self) -> bool:
        """Whether events of a worker arrive: before that, a run may go by unseen."""
        return "worker-heartbeat" in self.get("/workers", json=1)

    def tasks(self, **query: Any) -> dict[str, dict[str, Any]]:
        """The rows of the task list by id."""
        found: dict[str, dict[str, Any]] = self.json("/api/tasks", **query)
        return found

    def search(self, query: str) -> list[dict[str, Any]]:
        """What the page's search box finds."""
        table = {"draw": 1, "start": 0, "length": 500, "search[value]": query}
        table |= {"order[0][column]": 0, "columns[0][data]": "name", "order[0][dir]": "asc"}
        found: list[dict[str, Any]] = self.json("/tasks/datatable", **table)["data"]
        return found


@contextmanager
def running_flower(broker: str, home: Path, *options: str) -> Iterator[FlowerSite]:
    """Flower on a broker, once it answers; it knows nothing of flowcore."""
    need_flower()
    port = free_port()
    site = FlowerSite(url=f"http://127.0.0.1:{port}")
    argv = [
        *(str(FLOWER_BIN / "celery"), "flower", "--address=127.0.0.1", f"--port={port}"),
        *options,
    ]
    env = {"PATH": os.defpath, "CELERY_BROKER_URL": broker, "FLOWER_UNAUTHENTICATED_API": "true"}
    log = home / "flower.log"
    with running(argv, env=env, cwd=home, log=log) as process:
        poll(lambda: site.answers() or process.poll() is not None, what="Flower")
        if process.poll() is not None:
            pytest.fail(f"Flower has ended:\n{log.read_text()}")
        yield site
