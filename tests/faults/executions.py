"""What really ran: the log that the nodes write outside the store.

In: the file that ``nodes`` appends to. Out: executions; which processes are in the middle of one.
"""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Execution", "Executions"]


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One call of a node's function."""

    run: str
    node: str
    attempt: int
    pid: int
    began: float
    """Unix seconds on this machine's true clock, whatever the worker's said."""
    skew: float
    """Seconds by which the worker's clock was ahead of the true one."""

    def __str__(self) -> str:
        return f"{self.run}.{self.node}#{self.attempt}"


class Executions:
    """Reads the log as it grows; threads may share it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.touch()
        self._lock = threading.Lock()
        self._read = 0
        self._all: list[Execution] = []
        self._open: dict[tuple[str, str, int, int], Execution] = {}
        self._true = time.time() - time.monotonic()

    def all(self) -> list[Execution]:
        """Every execution so far."""
        with self._lock:
            self._catch_up()
            return list(self._all)

    def held(self, pids: Iterable[int]) -> list[Execution]:
        """Executions that these processes have begun and not ended."""
        wanted = set(pids)
        with self._lock:
            self._catch_up()
            return [one for one in self._open.values() if one.pid in wanted]

    def _catch_up(self) -> None:
        with self.file.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode().splitlines():
            mark, run, node, attempt, pid, monotonic, wall = line.split("\t")
            key = (run, node, int(attempt), int(pid))
            if mark == "E":
                self._open.pop(key, None)
                continue
            began = float(monotonic) + self._true
            one = Execution(
                run=run,
                node=node,
                attempt=key[2],
                pid=key[3],
                began=began,
                skew=float(wall) - began,
            )
            self._all.append(one)
            self._open[key] = one
