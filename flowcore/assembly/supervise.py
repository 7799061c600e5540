"""A worker and the process that keeps it: ``python -m flowcore.assembly.supervise GRACE COMMAND``.

In: a command and how long its end may take. Out: it runs, is started again when it crashes, and
ends when this process is told to. Not here: starting processes (supervisor), choosing the command
(cli).

This process runs no user code, so nothing that a node does can keep it from ending the worker.
The first SIGTERM or SIGINT tells the worker to end after the nodes that run; shortly before the
grace is over it is told to hand them back (SIGQUIT, Celery's cold shutdown); then its process group
is killed. A second signal hands back at once, a third one kills.
"""

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence

from flowcore.assembly.process_lifetime import report_ready, terminate_self, watch_parent
from flowcore.assembly.supervisor import LocalWorkers

__all__ = ["GRACE", "Supervision", "main"]

#: Seconds that the end of a worker may take: Kubernetes kills after 30.
GRACE = 25.0

#: Seconds that a worker needs to hand back what it runs: Celery's soft shutdown, and a little.
_HAND_BACK = 7.0

_LOOK = 0.1

#: Signals that a worker gets as they come.
_PASSED = (signal.SIGHUP, signal.SIGUSR1)

_WARM, _COLD, _KILL = 1, 2, 3

#: Exit status when the worker cannot be started: see the command line's.
_UNREACHABLE = 4


class Supervision:
    """Keeps one worker until it is told to end it; pure but for the workers it speaks to."""

    def __init__(self, workers: LocalWorkers, *, grace: float) -> None:
        """Allow ``grace`` seconds for the end."""
        self._workers = workers
        self._grace = grace
        self._level = 0
        self._ends = float("inf")

    def take(self, signum: int, now: float) -> None:
        """Act on a signal."""
        if signum in _PASSED:
            self._workers.send(signum)
        elif signum == signal.SIGQUIT:
            self._raise_to(max(_COLD, self._level + 1), now)
        else:
            self._raise_to(self._level + 1, now)

    def look(self, now: float) -> bool:
        """Say whether all is over; raise the pressure when its time has come."""
        if self._level == _WARM and now >= self._ends - min(_HAND_BACK, self._grace / 2):
            self._raise_to(_COLD, now)
        if not self._level:
            return self._workers.are_done or self._workers.failure is not None
        return self._level >= _KILL or now >= self._ends or self._workers.have_ended()

    def _raise_to(self, level: int, now: float) -> None:
        if not self._level:
            self._ends = now + self._grace
        self._level = level
        if level < _KILL:
            self._workers.end(signal.SIGTERM if level == _WARM else signal.SIGQUIT)


def main(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Keep a worker.

    Args:
        argv: The grace in seconds, then the worker's command.
        env: The worker's environment.
    """
    came: deque[int] = deque()
    some = threading.Event()

    def note(signum: int, _frame: object) -> None:
        came.append(signum)
        some.set()

    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, *_PASSED):
        signal.signal(signum, note)
    watch_parent(terminate_self)
    workers = LocalWorkers(argv=argv[1:], env=env, obey=True)
    supervision = Supervision(workers, grace=float(argv[0]))
    workers.start()
    try:
        while not supervision.look(time.monotonic()):
            if workers.wait_ready(timeout=0):
                report_ready()
            some.wait(_LOOK)
            some.clear()
            while came:
                supervision.take(came.popleft(), time.monotonic())
    finally:
        workers.close()
    if workers.failure:
        sys.stderr.write(f"flowcore: {workers.failure}\n")
        return _UNREACHABLE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
