"""Local worker processes, kept running for as long as their owner lives.

In: a command, its environment and a count. Out: that many processes; those that die unasked are
started again. Each is the leader of its own session, so that a terminal's Ctrl-C reaches the owner
alone, which then decides; and each holds a lifeline, so that none outlives an owner that was
killed.

Not here: what a worker does; its end of the lifeline (``process_lifetime``); the server
(``embedded``).
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from flowcore.assembly.process_lifetime import PARENT_FD, READY_FD, Pipe

__all__ = ["LocalWorkers"]

_LOOK = 0.05  # seconds between two looks at the processes
_BACKOFF_MIN = 0.1  # seconds before the first restart
_BACKOFF_MAX = 5.0  # seconds between restarts at most
_DEATHS_MAX = 5  # deaths of one worker within _DEATHS_WITHIN, none of them after being ready
_DEATHS_WITHIN = 30.0  # seconds
_LEFTOVERS_WAIT = 0.5  # seconds for killed process groups to be gone
_TAIL_LINES = 15
_TAIL_BYTES = 8192


@dataclass(kw_only=True, slots=True)
class _Slot:
    """One of the workers: its process now, and the deaths of those before it."""

    process: "subprocess.Popen[bytes] | None" = None
    deaths: list[float] = field(default_factory=list)
    backoff: float = _BACKOFF_MIN
    due: float = 0.0
    was_ready: bool = False
    given_up: bool = False


class LocalWorkers:
    """Starts, watches and stops the worker processes of one owner.

    A worker that has reported ready (``lifeline.report_ready``) is restarted for ever, with
    growing pauses; one that dies five times in 30 seconds without ever having been ready is given
    up, and ``failure`` says why.
    """

    def __init__(
        self,
        *,
        argv: Sequence[str],
        env: Mapping[str, str],
        count: int = 1,
        log: Path | None = None,
        cwd: Path | None = None,
        obey: bool = False,
    ) -> None:
        """Describe the workers; ``start`` starts them.

        Args:
            argv: Command of every worker.
            env: Its whole environment; the lifeline's variables are added.
            count: Number of workers, at least 1.
            log: File to which all of them append their output; by default it is the owner's.
            cwd: Working directory; by default the owner's.
            obey: Do not start one again that has ended in good order, with status 0.
        """
        if count < 1:
            raise ValueError(f"count={count}: at least 1 worker is needed")
        self._argv = tuple(argv)
        self._env = dict(env)
        self._log = log
        self._cwd = cwd
        self._obey = obey
        self._slots = tuple(_Slot() for _ in range(count))
        self._failure: str | None = None
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._lifeline: Pipe | None = None
        self._readiness: Pipe | None = None

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that run now."""
        return tuple(slot.process.pid for slot in self._slots if slot.process is not None)

    @property
    def are_done(self) -> bool:
        """True if all of them have ended for good, in good order."""
        return self._failure is None and all(slot.given_up for slot in self._slots)

    @property
    def failure(self) -> str | None:
        """Why a worker was given up, with the end of the log; None while all is well."""
        return self._failure

    def start(self) -> None:
        """Start all workers, and the thread that watches them. Once only.

        Raises:
            RuntimeError: They were started before.
            OSError: The log file cannot be written.
        """
        if self._lifeline is not None:
            raise RuntimeError("these workers were started before; make new LocalWorkers")
        if self._log is not None:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            self._log.touch(mode=0o600)
        self._lifeline = Pipe()
        self._readiness = Pipe()
        os.set_blocking(self._readiness.read.fileno(), False)
        self._look()
        self._thread = threading.Thread(target=self._watch, name="flowcore-workers", daemon=True)
        self._thread.start()

    def wait_ready(self, *, timeout: float) -> bool:
        """Wait until every worker has been ready once, or one was given up.

        Args:
            timeout: Seconds to wait.

        Returns:
            Whether every worker has been ready.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._failure or self._all_ready(), timeout)
            return self._all_ready()

    def stop(self, *, grace: float = 5.0) -> None:
        """End all workers and whatever is left in their process groups. Idempotent.

        Args:
            grace: Seconds between SIGTERM and SIGKILL.
        """
        self.end(signal.SIGTERM)
        _poll(self.have_ended, grace)
        self.close()

    def end(self, signum: int) -> None:
        """Start none again from now on, and send all of them a signal that ends them."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self.send(signum)

    def send(self, signum: int) -> None:
        """Send a signal to the leaders alone: a Celery worker ends its pool itself."""
        for process in self._running():
            if not _has_ended(process):
                process.send_signal(signum)

    def have_ended(self) -> bool:
        """Return whether none of the workers runs."""
        return all(map(_has_ended, self._running()))

    def close(self) -> None:
        """Kill what is left, whole process groups. Idempotent."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        running = self._running()
        for slot in self._slots:
            if slot.process is not None:
                _kill_group(slot.process)
                slot.process = None
        # What was killed dies in its own time, and init reaps it in its own, if at all.
        _poll(lambda: all(_group_is_gone(each.pid) for each in running), _LEFTOVERS_WAIT)
        for pipe in (self._lifeline, self._readiness):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _running(self) -> "list[subprocess.Popen[bytes]]":
        return [slot.process for slot in self._slots if slot.process is not None]

    def _all_ready(self) -> bool:
        return all(slot.was_ready for slot in self._slots)

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK):
            self._look()

    def _look(self) -> None:
        """Take note of what happened, and start what is due."""
        self._note_ready()
        now = time.monotonic()
        for slot in self._slots:
            if slot.process is not None and _has_ended(slot.process):
                self._bury(slot, slot.process, now)
            if slot.process is None and not slot.given_up and now >= slot.due:
                self._spawn(slot)

    def _note_ready(self) -> None:
        pipe = self._readiness
        if pipe is None:
            return
        try:
            # Lines are shorter than PIPE_BUF, so each was written whole and none is cut.
            pids = {int(word) for word in os.read(pipe.read.fileno(), 4096).split()}
        except BlockingIOError:
            return
        with self._changed:
            for slot in self._slots:
                if slot.process is not None and slot.process.pid in pids:
                    slot.was_ready = True
                    slot.backoff = _BACKOFF_MIN
            self._changed.notify_all()

    def _bury(self, slot: _Slot, process: "subprocess.Popen[bytes]", now: float) -> None:
        """Reap a dead worker with its leftovers, and decide whether and when to replace it."""
        _kill_group(process)
        slot.process = None
        if self._obey and process.returncode == 0:
            slot.given_up = True
            return
        slot.due = now + slot.backoff
        slot.backoff = min(2 * slot.backoff, _BACKOFF_MAX)
        slot.deaths = [at for at in slot.deaths if now - at < _DEATHS_WITHIN] + [now]
        if not slot.was_ready and len(slot.deaths) >= _DEATHS_MAX:
            self._give_up(
                slot,
                f"died {len(slot.deaths)} times before it was ready, "
                f"the last time with {_how(process.returncode)}",
            )

    def _spawn(self, slot: _Slot) -> None:
        if self._lifeline is None or self._readiness is None:
            return
        fds = {PARENT_FD: self._lifeline.read.fileno(), READY_FD: self._readiness.write.fileno()}
        try:
            with contextlib.nullcontext() if self._log is None else self._log.open("ab") as log:
                slot.process = self._popen(log, fds)
        except OSError as error:
            self._give_up(slot, f"cannot be started ({error})")

    def _popen(self, log: BinaryIO | None, fds: Mapping[str, int]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(  # noqa: S603 - the owner's own command
            self._argv,
            env=self._env | {name: str(fd) for name, fd in fds.items()},
            cwd=self._cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=None if log is None else subprocess.STDOUT,
            pass_fds=tuple(fds.values()),
            start_new_session=True,
        )

    def _give_up(self, slot: _Slot, why: str) -> None:
        slot.given_up = True
        with self._changed:
            if self._failure is None:
                self._failure = f"the worker {self._argv[0]} {why}{self._shown_log()}"
            self._changed.notify_all()

    def _shown_log(self) -> str:
        if self._log is None:
            return "; see what it has said"
        return f"; the end of its log {self._log}:\n" + self._tail(self._log)

    def _tail(self, path: Path) -> str:
        try:
            with path.open("rb") as log:
                log.seek(max(0, path.stat().st_size - _TAIL_BYTES))
                lines = log.read().decode("utf-8", "replace").splitlines()
        except OSError as error:
            return f"(no log: {error})"
        return "\n".join(lines[-_TAIL_LINES:])


def _poll(done: Callable[[], bool], patience: float) -> None:
    deadline = time.monotonic() + patience
    while not done() and time.monotonic() < deadline:
        time.sleep(_LOOK / 5)


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    """Return whether the worker is dead. It is not reaped: its pid names its process group."""
    try:
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, process.pid, options) is not None
    except ChildProcessError:
        return True


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill the worker's process group, then reap the worker.

    In this order: until its leader is reaped, nobody else can be given the group's number.
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _group_is_gone(pgid: int) -> bool:
    """Return whether the group is empty; zombies count as members, and signal 0 is harmless."""
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _how(returncode: int) -> str:
    if returncode >= 0:
        return f"exit status {returncode}"
    return signal.Signals(-returncode).name
