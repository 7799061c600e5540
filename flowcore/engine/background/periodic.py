"""Chores: what a thread does again and again, each on its own.

In: calls. Out: when the next one is due. Not here: threads, and what is done.
"""

import logging
import time
from collections.abc import Callable, Sequence

from flowcore.errors import FlowcoreError

__all__ = ["Chore", "look_after"]

_log = logging.getLogger(__name__)

_PAUSE_AFTER_TROUBLE = 2.0


class Chore:
    """Something that is done at intervals; when it fails it is done again later."""

    def __init__(
        self,
        name: str,
        call: Callable[[], float | None],
        *,
        every: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Be due at once.

        Args:
            name: What the log calls it.
            call: Does it; may return after how many seconds it is to be done again.
            every: Seconds between two beginnings, unless ``call`` says so.
            clock: Seconds.
        """
        self._name = name
        self._call = call
        self._every = every
        self._clock = clock
        self._due = clock()

    def look(self) -> float:
        """Do it if it is due; return the seconds until it is so again."""
        began = self._clock()
        if began < self._due:
            return self._due - began
        try:
            pause = self._call()
        except FlowcoreError as error:
            _log.warning("%s has to wait: %s", self._name, error)
            self._due = self._clock() + _PAUSE_AFTER_TROUBLE
        except Exception:  # noqa: BLE001  (whatever it is, a worker without its chores would be worse)
            _log.exception("unexpected error in %s after %.1f s", self._name, self._clock() - began)
            self._due = self._clock() + _PAUSE_AFTER_TROUBLE
        else:
            self._due = began + self._every if pause is None else self._clock() + pause
        return max(0.0, self._due - self._clock())


def look_after(chores: Sequence[Chore]) -> float:
    """Do what is due of these, each whatever became of the others; return the next pause (s)."""
    return min(chore.look() for chore in chores)
