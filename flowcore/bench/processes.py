"""Memory and processor time of processes, as the kernel counts them.

In: process ids. Out: bytes of resident memory, pages that processes share counted in each; seconds
of processor time. Where there is no ``/proc`` (macOS) every answer is None.
"""

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path

__all__ = ["cpu_seconds", "family", "forget_peak", "peak_bytes", "resident_bytes"]

_PROC = Path("/proc")

#: Linux: the clock of a process is named by the complement of its id and this kind.
_CPUCLOCK_SCHED = 2


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.glob("[0-9]*/stat"):
        try:
            fields = entry.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def cpu_seconds(pids: Iterable[int]) -> float | None:
    """Sum the processor time that processes have used so far."""
    used: list[float] = []
    for pid in pids:
        # A process's own clock counts nanoseconds; the ticks in /proc/PID/stat are 10 ms each.
        with contextlib.suppress(OSError):
            used.append(time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED))
    return sum(used) if used else None


def resident_bytes(pids: Iterable[int]) -> int | None:
    """Sum what processes hold now."""
    return _sum(pids, "VmRSS")


def peak_bytes(pids: Iterable[int]) -> int | None:
    """Sum the most that each process has held since ``forget_peak``."""
    return _sum(pids, "VmHWM")


def forget_peak(pids: Iterable[int]) -> None:
    """Let the peaks start anew from what is held now; see ``proc_pid_clear_refs(5)``."""
    for pid in pids:
        try:
            (_PROC / str(pid) / "clear_refs").write_text("5")
        except OSError:
            continue


def _sum(pids: Iterable[int], name: str) -> int | None:
    found = [size for pid in pids if (size := _status(pid, name)) is not None]
    return sum(found) if found else None


def _status(pid: int, name: str) -> int | None:
    try:
        text = (_PROC / str(pid) / "status").read_text("utf-8", "replace")
    except OSError:
        return None
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    return None
