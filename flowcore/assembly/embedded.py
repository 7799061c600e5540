"""The embedded Valkey server: one for each data directory, shared by all who need it.

In: a data directory. Out: the URL of a server that answers, on a Unix socket that only its owner
can open, with an append-only file written every second.

Four files beside the server's data hold the protocol; the kernel drops a flock when its holder
dies, however it dies, so nothing here has to be cleaned up after a ``kill -9``:

- ``start.lock``, exclusive: held while somebody starts or stops the server.
- ``users.lock``, shared: held by every user for as long as it uses the server. Whoever can make
  it exclusive, under ``start.lock``, is the last one out and stops the server.
- ``server.lock``, exclusive: held by the server itself, which inherits it. It is free exactly when
  no server runs on this directory, so two can never write one append-only file.
- ``server.json``: the server's pid, with the pid's start time so that no signal ever
  reaches a process that got the number later.

Not here: clients (``stores.redis``), workers (``supervisor``), one server on several machines.
"""

import contextlib
import fcntl
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from flowcore.assembly.process_lifetime import OwnFd
from flowcore.assembly.settings import data_home
from flowcore.assembly.valkey_process import (
    ask,
    find_binary,
    private_directory,
    socket_path,
    spawn,
    start_mark,
    tail,
)
from flowcore.errors import StoreUnreachableError
from flowcore.forks import renew_after_fork

__all__ = ["EmbeddedServer", "EmbeddedServerError"]

_log = logging.getLogger(__name__)

_POLL = 0.01  # seconds between two looks at something that is about to change
_SHUTDOWN_WAIT = 10.0  # seconds for a clean exit, which syncs the append-only file
_UNHEARD_WAIT = 0.5  # seconds for the exit of a server that was told to, if it did not hear
_SIGNAL_WAIT = 5.0  # seconds after each signal, should a clean exit fail


class EmbeddedServerError(StoreUnreachableError):
    """The embedded server cannot be started, reached or stopped.

    Attributes:
        log: The server's log file.
    """

    code = "FC601"

    def __init__(self, what: str, *, log: Path) -> None:
        """Say what is wrong, where the log is and what to do instead."""
        self.log = log
        super().__init__(
            f"the embedded server {what}; see its log {log}, "
            "or set FLOWCORE_REDIS_URL to use a Redis or Valkey server of your own"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Record:
    """Content of ``server.json``: the server that was started last."""

    pid: int
    started: str


class EmbeddedServer:
    """One user's hold on the embedded server. Threads may share it; forked children may not.

    Attributes:
        url: ``unix://`` URL for redis-py.
        pid: The server's process id; 0 if it lives in another pid namespace.
    """

    def __init__(self, directory: Path, *, timeout: float) -> None:
        """Open the lock files; use ``join`` instead, which also gets a server."""
        self._directory = directory
        self._timeout = timeout
        self._owner = os.getpid()
        self._left = False
        self._socket = socket_path(directory)
        # Re-entrant: a signal handler that leaves may interrupt its own thread.
        self._renew()
        renew_after_fork(self, EmbeddedServer._renew)
        self._users = _open_lock(directory / "users.lock")
        self._start = _open_lock(directory / "start.lock")
        self._record = _Record(pid=0, started="")

    def _renew(self) -> None:
        self._thread_lock = threading.RLock()

    @classmethod
    def join(cls, *, home: Path | None = None, timeout: float = 10.0) -> Self:
        """Use the data directory's server, starting it if none answers.

        Args:
            home: The data directory; by default the user's, see ``settings.data_home``.
            timeout: Seconds without progress before giving up. Loading a large append-only file
                is progress, however long it takes.

        Returns:
            A user of the server, to be given up with ``leave``.

        Raises:
            EmbeddedServerError: The server cannot be started or does not answer.
        """
        server: Self | None = None
        directory = home or data_home()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # One name for one directory, or callers would not agree on a shortened socket path.
            directory = directory.resolve() / "valkey"
            private_directory(directory)
            server = cls(directory, timeout=timeout)
            server._enter()
        except BaseException as error:
            if server is not None:
                server._release()
            if isinstance(error, OSError):
                log = directory / "valkey.log"
                raise EmbeddedServerError(f"cannot use {directory} ({error})", log=log) from error
            raise
        return server

    @property
    def url(self) -> str:
        """URL of the server's socket, for redis-py."""
        return "unix://" + quote(str(self._socket))

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._record.pid

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self._directory / "valkey.log"

    def ensure(self) -> None:
        """Start the server again if it is gone; cheap if it is there.

        Raises:
            EmbeddedServerError: It cannot be started, or this user has left, or this is a forked
                child of the user's process.
        """
        if self._left or os.getpid() != self._owner:
            raise self._error("is not joined by this process (call EmbeddedServer.join first)")
        with self._thread_lock:
            if self._answers():
                return
            try:
                with self._starting():
                    self._bring_up()
            except OSError as error:
                raise self._error(f"cannot be started again ({error})") from error

    def leave(self) -> None:
        """Give up the server, and stop it if nobody else uses it. Idempotent.

        Raises:
            EmbeddedServerError: This was the last user, and the server cannot be stopped.
        """
        with self._thread_lock:
            if self._left or os.getpid() != self._owner:
                return
            self._left = True
            try:
                with self._starting():
                    if _try_lock(self._users):
                        self._stop()
            finally:
                self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    # ── under start.lock ────────────────────────────────────────────────────────────────────────

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        """Hold ``start.lock``; another user may be waiting for a server to stop, on a slow disk."""
        patience = self._timeout + _SHUTDOWN_WAIT
        if not self._wait(lambda: _try_lock(self._start), patience):
            raise self._error("is being started or stopped by another process that takes too long")
        try:
            yield
        finally:
            fcntl.flock(self._start.fileno(), fcntl.LOCK_UN)

    def _enter(self) -> None:
        with self._starting():
            fcntl.flock(self._users.fileno(), fcntl.LOCK_SH)
            self._bring_up()

    def _bring_up(self) -> None:
        """Wait for the running server to answer, or start one."""
        self._record = self._read_record() or self._record
        if not self._settles():
            if self._runs():
                raise self._error(f"does not answer (process {self.pid} is alive)")
            self._start_server()
        self._write_record()

    def _settles(self) -> bool:
        """Wait until the server answers or is gone; return whether it answers."""
        self._wait(lambda: self._answers() or not self._runs(), self._timeout)
        return self._answers()

    def _start_server(self) -> None:
        private_directory(self._socket.parent)
        self._socket.unlink(missing_ok=True)
        with contextlib.closing(_open_lock(self._directory / "server.lock")) as lock:
            if not _try_lock(lock):
                raise self._error("is being started by another process")
            pid = spawn(
                binary=find_binary(),
                directory=self._directory,
                path=self._socket,
                log=self.log,
                lock_fd=lock.fileno(),
            )
        try:
            self._record = _Record(pid=pid, started=start_mark(pid) or "")
            self._write_record()
            self._first_answer()
        except BaseException:
            # Nobody else can be using a server that never answered; also upon Ctrl-C.
            self._stop()
            raise

    def _first_answer(self) -> None:
        if not self._settles():
            reason = "does not answer" if self._runs() else "ended as it started"
            raise self._error(f"{reason}:\n{tail(self.log)}\n")

    def _stop(self) -> None:
        """End the server, cleanly if possible: each way but SIGKILL syncs the data."""
        self._record = self._read_record() or self._record
        ours = self._owns_directory()
        if ours and self._runs():
            _, heard = ask(self._socket, "SHUTDOWN NOSAVE NOW")
            # One that still loads its data does not listen yet, and ends cleanly by a signal.
            self._poll(lambda: not self._runs(), _SHUTDOWN_WAIT if heard else _UNHEARD_WAIT)
        # In a directory that was made anew the socket is somebody else's, and a clean exit of our
        # server would unlink it; our own data was removed with the directory.
        for signum in (signal.SIGTERM, signal.SIGKILL) if ours else (signal.SIGKILL,):
            if self._runs():
                _log.warning("embedded server %d still runs, sending %s", self.pid, signum.name)
                self._signal(signum)
                self._poll(lambda: not self._runs(), _SIGNAL_WAIT)
        if self._runs():
            raise self._error(f"cannot be stopped (process {self.pid})")
        if ours:
            self._socket.unlink(missing_ok=True)
            (self._directory / "server.json").unlink(missing_ok=True)

    def _signal(self, signum: signal.Signals) -> None:
        if self._record.started and start_mark(self.pid) == self._record.started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def _runs(self) -> bool:
        """Return whether a server process holds the directory, answering or not."""
        if not self._owns_directory():
            return start_mark(self.pid) == self._record.started
        with contextlib.closing(_open_lock(self._directory / "server.lock")) as lock:
            return not _try_lock(lock)

    def _owns_directory(self) -> bool:
        """Return whether the path still leads to our directory: somebody may have removed it."""
        try:
            there = (self._directory / "start.lock").stat()
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._start.fileno()))

    # ── anytime ─────────────────────────────────────────────────────────────────────────────────

    def _answers(self) -> bool:
        """Return whether the server answers; remembers which process did."""
        reply, pid = ask(self._socket, "PING")
        if reply != "+PONG":
            return False
        if pid != self._record.pid:
            self._record = _Record(pid=pid, started=start_mark(pid) or "")
        return True

    def _wait(self, done: Callable[[], bool], patience: float) -> bool:
        """Poll until done, or until nothing has gone on for ``patience`` seconds."""
        while not self._poll(done, patience):
            if not ask(self._socket, "PING")[0].startswith("-LOADING"):
                return False
        return True

    @staticmethod
    def _poll(done: Callable[[], bool], patience: float) -> bool:
        deadline = time.monotonic() + patience
        while not done():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL)
        return True

    def _read_record(self) -> _Record | None:
        if not self._owns_directory():
            return None
        try:
            found = json.loads((self._directory / "server.json").read_text("utf-8"))
            return _Record(**found)
        except (OSError, ValueError, TypeError):
            return None

    def _write_record(self) -> None:
        draft = self._directory / "server.json.new"
        draft.write_text(json.dumps(asdict(self._record)), "utf-8")
        draft.replace(self._directory / "server.json")

    def _release(self) -> None:
        self._left = True
        self._users.close()
        self._start.close()

    def _error(self, what: str) -> EmbeddedServerError:
        return EmbeddedServerError(what, log=self.log)


def _open_lock(path: Path) -> OwnFd:
    return OwnFd(lambda: os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _try_lock(lock: OwnFd) -> bool:
    try:
        fcntl.flock(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
