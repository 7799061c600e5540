"""Judging a process by what it cannot fake: its own heartbeat, its CPU time, its time limit.

In: what was read of a child (attempts.work_table), and what the kernel says of it. Out: whether it
is alive, and whether it has to be ended. Not here: renewing its lease, ending it (backends).

A child that spins without releasing the interpreter is not heard, but its CPU time grows. A stopped
or frozen one is neither heard nor on the CPU. Where the kernel tells nothing (there is no /proc),
only the heartbeat counts.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from flowcore.engine.attempts.work_table import RunningWork

__all__ = [
    "TICKS",
    "CpuWatch",
    "Excess",
    "ProcessUsage",
    "descendants",
    "excess",
    "is_heard",
    "parse_stat",
    "read_usage",
]

#: Stopped by a signal or a debugger, dead, waiting for a disk that may never answer.
_AWAY = frozenset("TtXxZD")

#: Ticks of CPU time in a second.
TICKS = os.sysconf("SC_CLK_TCK")

_STATE, _PARENT, _USER, _SYSTEM = 0, 1, 11, 12


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """The kernel's figures of a process."""

    state: str
    """A letter: R running, S sleeping, T stopped, Z dead; see proc(5)."""
    ticks: int
    """Its CPU time."""

    @property
    def is_traced(self) -> bool:
        """True if a debugger has stopped it."""
        return self.state == "t"

    @property
    def can_run(self) -> bool:
        """True if nothing keeps it from running."""
        return self.state not in _AWAY


class Excess(StrEnum):
    """Reasons to end the work of a child."""

    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    FROZEN = "frozen"


def parse_stat(text: str) -> ProcessUsage | None:
    """Read the text of /proc/PID/stat; None when it is something else."""
    # The name, in parentheses, may itself hold blanks and parentheses.
    fields = text.rpartition(")")[2].split()
    try:
        return ProcessUsage(fields[_STATE], int(fields[_USER]) + int(fields[_SYSTEM]))
    except (IndexError, ValueError):
        return None


def read_usage(pid: int) -> ProcessUsage | None:
    """Ask the kernel; None when the process is gone, or when there is no /proc."""
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_text("utf-8", "replace"))
    except OSError:
        return None


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that these have."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(stat.read_text("utf-8", "replace").rpartition(")")[2].split()[_PARENT])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, ())
    return found[1:]


class CpuWatch:
    """Says of processes that are looked at now and then whether they are on the CPU."""

    def __init__(
        self, *, patience: float, usage: Callable[[int], ProcessUsage | None] = read_usage
    ) -> None:
        """Count a process as on the CPU for ``patience`` seconds after its CPU time has grown."""
        self._patience = patience
        self._usage = usage
        self._seen: dict[int, tuple[int, float]] = {}

    def is_running(self, pid: int, now: float) -> bool:
        """Look at a process; the first look only takes note."""
        usage = self._usage(pid)
        if usage is None or not usage.can_run:
            self._seen.pop(pid, None)
            return False
        ticks, grown = self._seen.get(pid, (usage.ticks, float("-inf")))
        if usage.ticks > ticks:
            grown = now
        self._seen[pid] = (usage.ticks, grown)
        return now - grown <= self._patience

    def ticks(self, pid: int) -> int:
        """Return the CPU time that the last look has found."""
        return self._seen.get(pid, (0, 0.0))[0]

    def keep(self, pids: frozenset[int]) -> None:
        """Forget all other processes."""
        self._seen = {pid: seen for pid, seen in self._seen.items() if pid in pids}


def is_heard(work: RunningWork, now: float, *, patience: float) -> bool:
    """Say whether a child's own heartbeat was heard within ``patience`` seconds."""
    return now - work.heartbeat <= patience


def excess(work: RunningWork, now: float, *, grace: float, stop_grace: float) -> Excess | None:
    """Say why a child has to be ended, if it has to be.

    Args:
        work: What it does.
        now: On the monotonic clock.
        grace: Seconds that it has after its time limit.
        stop_grace: Seconds that it has after it was asked to end.
    """
    if work.asked is not None and now - work.asked > stop_grace:
        return Excess.CANCELLED
    if work.deadline is not None and now - work.deadline > grace:
        return Excess.TIMEOUT
    return None
