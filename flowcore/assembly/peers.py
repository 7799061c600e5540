"""A look at who else is there: clients and workers of other versions are not worked with.

In: the board of workers. Out: nothing, or a refusal in a sentence; a warning of queues that nobody
serves. Not here: what a message or a
stored run says of its version (signing, reader).
"""

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence

from flowcore.errors import VersionMismatchError
from flowcore.plan.plan import Plan
from flowcore.ports.workers import WorkerInfo, WorkerRegistry

__all__ = ["Peers", "worker_command"]

#: Seconds for which a look is good.
_FRESH = 5.0

_PAUSE = 0.25

#: A bound on memory.
_MOST = 1000

_log = logging.getLogger(__name__)


class Peers:
    """The live workers, as far as their versions go."""

    def __init__(
        self,
        board: WorkerRegistry,
        *,
        namespace: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask ``board``, when first needed; names of queues there begin with the namespace."""
        self._board = board
        self._namespace = namespace
        self._clock = clock
        self._until = float("-inf")
        self._looked: dict[str, float] = {}
        """By plan: until when its queues need no further look."""

    def check(self) -> None:
        """Make sure, at most every few seconds, that all live workers speak our wire number.

        Raises:
            VersionMismatchError: One does not; nothing that we submit may reach it.
        """
        if self._clock() < self._until:
            return
        refuse(self._board.workers())
        self._until = self._clock() + _FRESH

    def warn(self, plan: Plan, queues: Callable[[], Collection[str]]) -> None:
        """Log which queues of a plan no live worker serves; one look every few seconds.

        Args:
            plan: A plan.
            queues: Gives the broker's names of its queues.
        """
        now = self._clock()
        if now < self._looked.get(plan.hash, float("-inf")):
            return
        if len(self._looked) >= _MOST:
            self._looked.clear()
        self._looked[plan.hash] = now + _FRESH
        served = {name for note in self._board.workers() for name in note.queues}
        if missing := set(queues()) - served:
            _log.warning(
                "flow %s was sent to %s, which no live worker serves; start one: %s",
                plan.flow,
                ", ".join(sorted(missing)),
                worker_command(missing, self._namespace),
            )

    def wait(self, patience: float) -> None:
        """Wait until workers of other versions have left.

        Args:
            patience: Seconds; the note of a worker that was killed stays for a while.

        Raises:
            VersionMismatchError: They are still there.
        """
        ends = self._clock() + patience
        pause = threading.Event()
        while True:
            try:
                refuse(self._board.workers())
            except VersionMismatchError:
                if self._clock() >= ends:
                    raise
            else:
                return
            pause.wait(_PAUSE)


def worker_command(queues: Collection[str], namespace: str = "") -> str:
    """Return the command that starts a worker of these queues, whose names the broker's are."""
    prefix = f"{namespace}." if namespace else ""
    return f"flowcore worker --queues {','.join(sorted(q.removeprefix(prefix) for q in queues))}"


def refuse(notes: Sequence[WorkerInfo]) -> None:
    """Raise ``VersionMismatchError`` if one of these workers speaks another wire number."""
    for note in notes:
        if sentence := note.mismatch():
            raise VersionMismatchError(sentence)
