"""A real server that can be killed, stopped, filled up and robbed of its last second.

In: a directory. Out: a Valkey process on a loopback port, with the append-only file on.
"""

import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from flowcore.assembly.valkey_process import find_binary

__all__ = ["Server", "free_port"]

_START_WITHIN = 20.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def free_port() -> int:
    """Find a loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One server and its data; runs are in database 0, the broker is database 1."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        # The server ends with the thread that started it, so that is one which stays.
        self._keeper = ThreadPoolExecutor(max_workers=1, thread_name_prefix="server")

    @property
    def pid(self) -> int:
        """Process id of the server that runs now; 0 when none does."""
        return self._process.pid if self._process else 0

    def url(self, database: int, *, port: int | None = None) -> str:
        """Name a database, by way of another port if one is given."""
        return f"redis://127.0.0.1:{port or self.port}/{database}"

    def client(self, database: int, *, timeout: float = 5.0) -> "redis.Redis":
        """A plain client without retries: it shows what a client sees."""
        return redis.Redis(
            port=self.port, db=database, socket_timeout=timeout, retry=Retry(NoBackoff(), 0)
        )

    def start(self) -> None:
        """Start the server on the data that is there, and wait until it answers."""
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self._directory),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-load-truncated": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            # Rewritten files would have no last second to cut off.
            "auto-aof-rewrite-percentage": "0",
        }
        self._process = self._keeper.submit(self._spawn, options).result()
        self.wait_until_ready()

    def _spawn(self, options: dict[str, str]) -> "subprocess.Popen[bytes]":
        with (self._directory / "log").open("ab") as log:
            return subprocess.Popen(
                [str(find_binary()), *(w for k, v in options.items() for w in (f"--{k}", v))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Python ignores SIGXFSZ, and so does its child: a full disk is an error to it.
                restore_signals=False,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    def wait_until_ready(self) -> None:
        """Wait until the server answers."""
        ends = time.monotonic() + _START_WITHIN
        with self.client(0, timeout=1.0) as client:
            while True:
                try:
                    client.ping()
                except redis.RedisError:
                    if time.monotonic() > ends:
                        log = (self._directory / "log").read_text("utf-8", "replace")
                        raise RuntimeError(f"the server does not answer:\n{log[-2000:]}") from None
                    time.sleep(0.02)
                else:
                    return

    def signal(self, number: signal.Signals) -> None:
        """Send the server a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End the server as kill -9 does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def appended(self) -> tuple[Path, int]:
        """The append-only file that is written now, and its size."""
        file = max(
            self._directory.glob("appendonlydir/*.incr.aof"), key=lambda f: f.stat().st_mtime
        )
        return file, file.stat().st_size

    def written(self, *, patience: float = 10.0) -> float:
        """Wait until all that was answered so far is in the append-only file; say when that was.

        While it syncs, a server that syncs every second puts off writing by up to two.

        Returns:
            Unix seconds: what was answered until then is in the file.
        """
        ends = time.monotonic() + patience
        with self.client(0) as client:
            while True:
                at, state = time.time(), client.info("persistence")
                if not state["aof_buffer_length"] and not state["aof_pending_bio_fsync"]:
                    return at
                if time.monotonic() > ends:
                    raise RuntimeError(f"the server does not get its writes to the disk: {state}")
                time.sleep(0.002)

    def limit_files(self, size: int | None) -> None:
        """Let no file of the server grow above ``size`` bytes; None lifts the limit."""
        soft = resource.RLIM_INFINITY if size is None else size
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))

    def limit_memory(self, size: int) -> None:
        """Set ``maxmemory``; 0 lifts the limit."""
        with self.client(0) as client:
            client.config_set("maxmemory", size)


def _end_with_parent() -> None:
    """Leave no server behind when the campaign is killed."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
