"""A process that keeps the processes of agents: starts them, watches them, ends them.

In: roles, each with the function that its processes run. Out: processes, forked from this one,
which has no threads and runs no code of users, so that it always has its turn. Not here: what is
watched for (agent_watch, node_watch).

A process that dies is started again, at once if it has lived for a while. Whoever started this one
holds a pipe: when that ends, so does everything here. What is forked is killed by the kernel when
this process is.
"""

import contextlib
import ctypes
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flowcore.engine.attempts.work_table import WorkTable
from flowcore.errors import FlowcoreError, UsageError

__all__ = ["MISUSE", "REPLACE", "ChildProcess", "Role", "Supervisor"]

_log = logging.getLogger(__name__)

#: Seconds between two looks.
_LOOK = 0.1
#: A process that lived longer than this, in seconds, is started again at once.
_SETTLED = 5.0
_BACKOFF, _BACKOFF_MOST = 0.2, 5.0
#: Seconds for which a process is not looked at after that has failed.
_PAUSE = 1.0
#: Seconds to hand back what runs when whoever started this process is gone.
_ORPHANED = 1.0
#: The exit status of a process whose modules cannot be used.
MISUSE = 64
#: That of one that has to be replaced.
REPLACE = 75
_PR_SET_PDEATHSIG = 1


@dataclass(kw_only=True, eq=False)
class ChildProcess:
    """A process that was forked."""

    role: "Role"
    pid: int
    table: WorkTable
    index: int
    """Its record, or the first of them."""
    started: float
    retiring: bool = False
    """It takes nothing new, and is not started again."""
    facts: dict[str, float] = field(default_factory=dict)
    """What its role remembers of it."""


class Role(Protocol):
    """Role of a group of processes."""

    @property
    def name(self) -> str:
        """Name of the role, for people."""
        ...

    @property
    def count(self) -> int:
        """Number of processes."""
        ...

    @property
    def grace(self) -> float:
        """Seconds that a process has to end when it is told to."""
        ...

    def take(self) -> tuple[WorkTable, int]:
        """Return the table of running work for a process, and the number of its first record."""
        ...

    def run(self, table: WorkTable, index: int, ready: Callable[[], None]) -> int:
        """Do the work of a process, in this process; return its exit status."""
        ...

    def started(self, child: ChildProcess) -> None:
        """Take note of a process that has been started."""
        ...

    def watch(self, child: ChildProcess, keeper: "Supervisor", now: float) -> None:
        """Look at a process that runs."""
        ...

    def bury(self, child: ChildProcess, status: int) -> bool:
        """Look after what a process has left undone; say whether its end was meant.

        Args:
            child: The process, which is dead.
            status: Its exit status; negative: the signal that has ended it.
        """
        ...


class Supervisor:
    """Keeps the processes of some roles until it is told to stop."""

    def __init__(self, roles: Sequence[Role], *, parent_fd: int, ready_fd: int) -> None:
        """Start nothing yet.

        Args:
            roles: What to keep processes for.
            parent_fd: A pipe that ends with whoever started this process.
            ready_fd: Where to write a line when all are ready, or why they cannot be.
        """
        self._roles = roles
        self._parent_fd = parent_fd
        self._ready_fd = ready_fd
        self._children: list[ChildProcess] = []
        self._killed: set[int] = set()
        self._unready: set[int] = set()
        self._due: list[tuple[float, Role]] = []
        self._backoff = _BACKOFF
        self._stopping = False
        self._patience = float("inf")

    def run(self) -> int:
        """Keep them; return the exit status."""
        signal.signal(signal.SIGTERM, self._on_stop)
        # A terminal's Ctrl-C reaches the whole group; whoever started us decides what it means.
        signal.signal(signal.SIGINT, _nothing)
        for role in self._roles:
            for _ in range(role.count):
                self._unready.add(self.start(role))
        status = 0
        while not self._stopping and not status:
            if not self._wait():
                self._patience = _ORPHANED
                break
            now = time.monotonic()
            status = self._reap(now)
            for child in list(self._children):
                self._watch(child, now)
            for due in [each for each in self._due if now >= each[0]]:
                self._due.remove(due)
                self.start(due[1])
        self._end_all()
        return status

    def start(self, role: Role) -> int:
        """Fork a process of a role; return a pipe that says when it is ready, or why it is not."""
        table, index = role.take()
        read_fd, write_fd = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        me = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._be_child(lambda ready: role.run(table, index, ready), write_fd, me)
        os.close(write_fd)
        now = time.monotonic()
        child = ChildProcess(role=role, pid=pid, table=table, index=index, started=now)
        self._children.append(child)
        role.started(child)
        if self._ready_fd < 0:
            os.close(read_fd)
        return read_fd

    def retire(self, child: ChildProcess, by: int) -> None:
        """Have a process take nothing new, and start another one beside it."""
        if self._stopping:
            return
        child.retiring = True
        self._signal(child, by)
        self.start(child.role)

    @property
    def is_stopping(self) -> bool:
        """True if nothing is started any more."""
        return self._stopping

    @property
    def children(self) -> Sequence[ChildProcess]:
        """The processes there are."""
        return self._children

    def retiring(self, role: Role) -> int:
        """Count the processes of a role that take nothing new."""
        return sum(child.retiring for child in self._children if child.role is role)

    def kill(self, child: ChildProcess) -> None:
        """End a process; another one takes its place at once, unless it was retiring."""
        self._signal(child, signal.SIGKILL)
        self._killed.add(child.pid)
        self._children.remove(child)
        if not child.retiring and not self._stopping:
            self.start(child.role)

    def _hear(self, fd: int) -> None:
        """Hear from a process that it is ready, or why it is not; tell when all of them are."""
        found = os.read(fd, 65536)
        os.close(fd)
        self._unready.discard(fd)
        if found == b"\n" and self._unready:
            return
        with contextlib.suppress(OSError):
            os.write(self._ready_fd, found or b"a process of agents ended as it was started\n")
        os.close(self._ready_fd)
        self._ready_fd = -1
        for other in self._unready:
            os.close(other)
        self._unready.clear()

    def _be_child(
        self, run: Callable[[Callable[[], None]], int], ready_fd: int, parent: int
    ) -> None:
        """Be a process of a role, to its end; never returns."""
        status = 1
        try:
            _die_with(parent)
            for fd in (self._parent_fd, self._ready_fd, *self._unready):
                if fd >= 0:
                    os.close(fd)

            def ready() -> None:
                with contextlib.suppress(OSError):
                    os.write(ready_fd, b"\n")
                    os.close(ready_fd)

            status = run(ready)
        except UsageError as error:
            _log.error("%s", error)
            status = MISUSE
            with contextlib.suppress(OSError):
                os.write(ready_fd, f"{error}\n".encode("utf-8", "replace"))
        except BaseException:  # noqa: BLE001  (nothing of a child may run on as its parent)
            _log.exception("a process of agents ended")
        finally:
            logging.shutdown()
            os._exit(status)

    def _wait(self) -> bool:
        """Wait for the next look; False when whoever started us is gone."""
        readable, _, _ = select.select([self._parent_fd, *self._unready], [], [], _LOOK)
        if self._parent_fd in readable:
            return bool(os.read(self._parent_fd, 1))
        for fd in readable:
            if fd in self._unready:
                self._hear(fd)
        return True

    def _watch(self, child: ChildProcess, now: float) -> None:
        if now < child.facts.get("paused", 0.0):
            return
        try:
            child.role.watch(child, self, now)
        except FlowcoreError as error:
            child.facts["paused"] = now + _PAUSE
            _log.warning("agents: %s", error)
        except Exception:  # noqa: BLE001  (others are to be watched too)
            _log.exception("unexpected error in the watch over a process of %s", child.role.name)

    def _reap(self, now: float) -> int:
        """Bury the dead; return an exit status if nobody can go on here."""
        self._killed = {pid for pid in self._killed if not _waited(pid)[0]}
        for child in list(self._children):
            pid, code = _waited(child.pid)
            if not pid:
                continue
            self._children.remove(child)
            meant = self._bury(child, code)
            if code == MISUSE and now - child.started < _SETTLED:
                return MISUSE
            if not child.retiring:
                self._restart(child, code, now, meant=meant)
        return 0

    def _bury(self, child: ChildProcess, code: int) -> bool:
        try:
            return child.role.bury(child, code)
        except FlowcoreError as error:
            _log.warning("agents: %s", error)  # leases run out, and others take over
            return False

    def _restart(self, child: ChildProcess, code: int, now: float, *, meant: bool) -> None:
        _log.warning("a process of %s ended (%s); another one begins", child.role.name, _how(code))
        if meant or now - child.started >= _SETTLED:
            self._backoff = _BACKOFF
            self.start(child.role)
            return
        self._due.append((now + self._backoff, child.role))
        self._backoff = min(2 * self._backoff, _BACKOFF_MOST)

    def _end_all(self) -> None:
        """Tell all to end, and make those that do not; meanwhile they are looked after."""
        self._stopping = True
        for child in self._children:
            self._signal(child, signal.SIGTERM)
        began = time.monotonic()
        while self._children:
            now = time.monotonic()
            for child in list(self._children):
                pid, code = _waited(child.pid)
                if not pid and now - began > min(child.role.grace, self._patience):
                    self._signal(child, signal.SIGKILL)
                    pid, code = _waited(child.pid, 0)  # a killed process ends at once
                if pid:
                    self._children.remove(child)
                    self._bury(child, code)
                else:
                    self._watch(child, now)
            time.sleep(_LOOK / 5)

    def _on_stop(self, *_: object) -> None:
        self._stopping = True

    @staticmethod
    def _signal(child: ChildProcess, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, number)


def _nothing(*_: object) -> None:
    """Keep a signal from ending the process; unlike SIG_IGN, nobody inherits it."""


def _waited(pid: int, options: int = os.WNOHANG) -> tuple[int, int]:
    """Reap a child if it is dead; return its id, or 0, and its exit status."""
    try:
        found, status = os.waitpid(pid, options)
    except ChildProcessError:
        return pid, 1
    return found, os.waitstatus_to_exitcode(status) if found else 0


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, even if it never yields."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK * 5)
        os._exit(1)

    threading.Thread(target=look, name="flowcore-parent", daemon=True).start()


def _how(code: int) -> str:
    return f"exit status {code}" if code >= 0 else signal.Signals(-code).name
