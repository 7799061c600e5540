"""A look at who else is there: clients and workers of other versions are not worked with.

In: the board of workers. Out: nothing, or a refusal in a sentence. Not here: what a message or a
stored run says of its version (signing, reader).
"""

import threading
import time
from collections.abc import Callable, Sequence

from flowcore.errors import VersionMismatchError
from flowcore.ports.presence import WorkerBoard, WorkerNote

__all__ = ["Peers"]

#: Seconds for which a look is good.
_FRESH = 5.0

_PAUSE = 0.25


class Peers:
    """The live workers, as far as their versions go."""

    def __init__(self, board: WorkerBoard, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Ask ``board``, when first needed."""
        self._board = board
        self._clock = clock
        self._until = float("-inf")

    def check(self) -> None:
        """Make sure, at most every few seconds, that all live workers speak our wire number.

        Raises:
            VersionMismatchError: One does not; nothing that we submit may reach it.
        """
        if self._clock() < self._until:
            return
        refuse(self._board.workers())
        self._until = self._clock() + _FRESH

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


def refuse(notes: Sequence[WorkerNote]) -> None:
    """Raise ``VersionMismatchError`` if one of these workers speaks another wire number."""
    for note in notes:
        if sentence := note.mismatch():
            raise VersionMismatchError(sentence)
