"""Real services for tests: one Valkey server per session, on a Unix socket of its own.

``tests/conftest.py`` makes the fixtures known everywhere.
"""

import ctypes
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from flowcore.assembly.valkey_process import find_binary

__all__ = ["redis_client", "running_valkey", "valkey_server"]

_START_WITHIN = 10.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


@contextmanager
def running_valkey(*options: str) -> Iterator[str]:
    """A server that keeps nothing; ends with the block, and with this process.

    Args:
        options: More of its command line, such as ``--appendonly yes``.

    Yields:
        Its URL, ``unix:///…``.
    """
    # Not pytest's tmp_path: a socket's path may have 107 bytes at most.
    directory = Path(tempfile.mkdtemp(prefix="fc-"))
    socket = directory / "valkey.sock"
    quiet = ["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"]
    try:
        with (directory / "log").open("wb") as log:
            server = subprocess.Popen(
                [
                    str(find_binary()),
                    *quiet,
                    *("--unixsocket", str(socket), "--unixsocketperm", "700"),
                    *("--dir", str(directory), "--enable-debug-command", "yes"),
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # One call of libc, on the main thread: safe enough, and nothing else ends with us.
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )
        try:
            url = f"unix://{socket}"
            _wait_until_ready(url, server, directory / "log")
            yield url
        finally:
            server.kill()
            server.wait()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _end_with_parent() -> None:
    """Leave no server behind when the tests are killed."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_until_ready(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_WITHIN
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"valkey-server does not answer:\n{log.read_text()}")
                time.sleep(0.01)
            else:
                return


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[str]:
    """URL of the session's server."""
    with running_valkey() as url:
        yield url


@pytest.fixture
def redis_client(valkey_server: str) -> Iterator["redis.Redis"]:
    """A client of the session's server, emptied for this test."""
    with redis.Redis.from_url(valkey_server) as client:
        client.flushall()
        yield client
