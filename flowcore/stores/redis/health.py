"""Which of several servers answer.

In: what became of calls. Out: whom to ask, and a line in the log now and then. Not here: the calls.
"""

import logging
import threading
import time
from collections.abc import Iterable, Sequence

from flowcore.errors import StoreUnreachableError
from flowcore.forks import renew_after_fork

__all__ = ["Health", "ServerDownError"]

_log = logging.getLogger(__name__)

#: Seconds for which nobody who has a choice asks a server that did not answer.
_AVOID = 3.0

#: Seconds between two lines of the log about one server.
_TELL_EVERY = 30.0


class ServerDownError(StoreUnreachableError):
    """A server that did not answer a moment ago was not asked again."""


class Health:
    """Which servers answer; says so in the log, now and then."""

    def __init__(self, names: Sequence[str]) -> None:
        """All are thought to answer."""
        self.names = tuple(names)
        self._failed: dict[int, float] = {}
        self._told: dict[int, float] = {}
        self._renew()
        renew_after_fork(self, Health._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def failed(self, at: int, error: BaseException | str) -> None:
        """Note that a server did not answer, or refused."""
        if isinstance(error, ServerDownError):
            return
        now = time.monotonic()
        with self._lock:
            self._failed[at] = now
            tell = now - self._told.get(at, -_TELL_EVERY) >= _TELL_EVERY
            if tell:
                self._told[at] = now
        if tell:
            _log.warning("%s: %s; runs on the other servers go on", self.names[at], error)

    def answered(self, at: int) -> None:
        """Note that a server answers."""
        if at not in self._failed:
            return
        with self._lock:
            self._failed.pop(at, None)
            was_told = self._told.pop(at, None) is not None
        if was_told:
            _log.warning("%s answers again", self.names[at])

    def is_down(self, at: int) -> bool:
        """Whether it did not answer a moment ago."""
        failed = self._failed.get(at)
        return failed is not None and time.monotonic() - failed < _AVOID

    def check(self, at: int) -> None:
        """Spare those who can wait a server that is down.

        Raises:
            ServerDownError: It did not answer a moment ago.
        """
        if self.is_down(at):
            msg = f"{self.names[at]} did not answer a moment ago; run 'flowcore doctor'"
            raise ServerDownError(msg)

    def first(self, servers: Iterable[int]) -> list[int]:
        """Order servers so that those which answer come first."""
        return sorted(servers, key=self.is_down)
