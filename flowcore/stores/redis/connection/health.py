"""Which of several servers answer.

In: what became of calls. Out: whom to ask, and a line in the log now and then. Not here: the calls.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from flowcore.errors import StoreUnreachableError
from flowcore.forks import renew_after_fork

__all__ = ["Health", "Liveness", "ServerDownError"]

_log = logging.getLogger(__name__)

#: Seconds for which nobody who has a choice asks a server that did not answer.
_AVOID = 3.0

#: Seconds for which a sign of life is good.
_FRESH = 1.0

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
            _log.warning("%s: %s; runs on the other servers continue", self.names[at], error)

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
        """Return whether it did not answer a moment ago."""
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

    def live(self) -> list[int]:
        """Return the servers that are not known to be down; all when there is none."""
        servers = range(len(self.names))
        return [at for at in servers if not self.is_down(at)] or list(servers)

    def first(self, servers: Iterable[int]) -> list[int]:
        """Order servers so that those which answer come first."""
        return sorted(servers, key=self.is_down)


class Liveness:
    """Signs of life, asked for before what would wait long for a server that hangs."""

    def __init__(self, health: Health, pings: Sequence[Callable[[], None]]) -> None:
        """Ask no server yet.

        Args:
            health: The servers.
            pings: For each of them: asks for a sign of life, for a few seconds.
        """
        self._health = health
        self._pings = pings
        self._seen: dict[int, float] = {}

    def require(self, at: int) -> None:
        """Refuse to go on with a server that hangs; a sign of life is good for a second.

        Raises:
            StoreUnreachableError: There is none; names the server.
        """
        if time.monotonic() - self._seen.get(at, -_FRESH) < _FRESH:
            return
        # Also one that was down a moment ago: it may be back, and nobody else would take this.
        try:
            self._pings[at]()
        except StoreUnreachableError as error:
            self._health.failed(at, error)
            raise
        self._health.answered(at)
        self._seen[at] = time.monotonic()
