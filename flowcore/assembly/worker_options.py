"""The options of a worker that flowcore starts, and the command of Celery they make.

In: what a person or a session wants. Out: a command line. Not here: starting it (supervisor), which
options a command takes (cli).
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from flowcore.errors import UsageError

__all__ = ["WorkerOptions"]

_PREFORK = "prefork"
_MOST = 1000
_AUTOSCALE = re.compile(r"([0-9]{1,6})(?:,([0-9]{1,6}))?")
_NAME = re.compile(r"[A-Za-z0-9_.:%+-]{1,100}(@[A-Za-z0-9_.:%+-]{1,250})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Options of a worker.

    Raises:
        UsageError: Options that do not go together, or a value that is none.
    """

    concurrency: int | None = None
    """Nodes at once; the number of cores when left out."""
    pool: str = _PREFORK
    """Celery's pool."""
    autoscale: str | None = None
    """``MAX,MIN`` processes: the pool grows with what waits, and shrinks after it."""
    max_tasks_per_child: int | None = None
    """Messages after which a process of the pool is replaced."""
    max_memory_per_child: int | None = None
    """KiB above which it is."""
    include: Sequence[str] = ()
    """Modules to import at start."""
    name: str | None = None
    """As Celery spells names; None: one that no other worker has."""
    log_level: str | None = None
    """A level of ``logging``."""

    def __post_init__(self) -> None:
        """Check them."""
        forks = {
            "--autoscale": self.autoscale,
            "--max-tasks-per-child": self.max_tasks_per_child,
            "--max-memory-per-child": self.max_memory_per_child,
        }
        given = [option for option, value in forks.items() if value is not None]
        if given and self.pool != _PREFORK:
            raise UsageError(
                f"{given[0]} is for the pool 'prefork': the pool {self.pool!r} has no processes "
                "to start or replace"
            )
        if self.autoscale is not None and self.concurrency is not None:
            raise UsageError(
                "--autoscale and --concurrency say both how many nodes run at once: leave one out"
            )
        if self.name is not None and not _NAME.fullmatch(self.name):
            raise UsageError(
                f"--name {self.name!r}: a name is of letters, digits and _ . : % + -, perhaps with "
                "@ and a host, such as gpu or gpu@%h"
            )
        self._autoscale()

    def argv(self, queues: Sequence[str]) -> list[str]:
        """Return the command of a worker of these queues."""
        given = {
            "--pool": self.pool,
            "--queues": ",".join(queues),
            "--concurrency": self.concurrency,
            "--autoscale": self._autoscale(),
            "--max-tasks-per-child": self.max_tasks_per_child,
            "--max-memory-per-child": self.max_memory_per_child,
            "--include": ",".join(self.include) or None,
            "--hostname": self.name,
            "--loglevel": self.log_level,
        }
        return [
            *(sys.executable, "-m", "celery", "-A", "flowcore", "worker"),
            *(f"{option}={value}" for option, value in given.items() if value is not None),
        ]

    def _autoscale(self) -> str | None:
        """Spell it in full: without a minimum Celery would let a pool have no process at all."""
        if self.autoscale is None:
            return None
        found = _AUTOSCALE.fullmatch(self.autoscale.replace(" ", ""))
        most, least = (int(found[1]), int(found[2] or 1)) if found else (0, 0)
        if not 1 <= least <= most <= _MOST:
            raise UsageError(
                f"--autoscale {self.autoscale!r}: expected MAX,MIN with MAX from MIN to {_MOST} "
                "and MIN at least 1, such as 8,2"
            )
        return f"{most},{least}"
