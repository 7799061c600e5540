"""Which of several servers has a run.

In: the servers' names, a run's id. Out: a server's number. Not here: what is said to it
(redis.sharding.runs).

A run's home is the server with the highest score for its id (rendezvous hashing): a server that is
added takes over its own share and moves nothing between the others. A run that was created under
an older list is not at its home: whoever misses it there asks the other servers, once.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from redis.exceptions import TimeoutError as RedisTimeoutError

from flowcore.errors import FlowcoreError, StoreUnreachableError
from flowcore.stores.redis.connection.fanout import Fanout
from flowcore.stores.redis.connection.health import Health
from flowcore.stores.redis.connection.sentinel import SentinelAddress, is_sentinel

__all__ = ["Placement", "home_of", "server_name"]

_T = TypeVar("_T")

#: Seconds that looking for a run among the other servers may take.
_PATIENCE = 1.0

#: Runs whose places are remembered; one that was forgotten is looked for again.
_REMEMBERED = 20_000


def server_name(url: str) -> str:
    """Name a server without its password: what scores are made of.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://`` or ``sentinel://``.

    Returns:
        ``host:port/database``, a socket's path, or Sentinels and what they call it. The same
        server behind another name is another one: a change of its address moves homes of runs.
    """
    if is_sentinel(url):
        there = SentinelAddress.parse(url)
        hosts = ",".join(f"{host}:{port}" for host, port in sorted(there.hosts))
        return f"{hosts}/{there.name}/{there.db}"
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"{unquote(parts.path)}{f'?{parts.query}' if parts.query else ''}"
    database = parts.path.strip("/") or "0"
    return f"{parts.hostname}:{parts.port or 6379}/{database}"


def home_of(run: str, names: Sequence[str]) -> int:
    """Return the number of the server on which a run of this id is created.

    What a run has started is with it: their ids begin with its own and a slash.
    """
    run = run.partition("/")[0]
    return max(range(len(names)), key=lambda at: _score(names[at], run))


def _score(name: str, run: str) -> bytes:
    return blake2b(f"{name}\0{run}".encode(), digest_size=8).digest()


class Placement:
    """Finds runs; one for a process, used by its store, its reader and its event log."""

    def __init__(self, health: Health, holds: Sequence[Callable[[str], bool]]) -> None:
        """Ask no server yet.

        Args:
            health: The servers.
            holds: For each of them: says whether it has a run.
        """
        self._health = health
        self._holds = holds
        self._known: dict[str, int] = {}
        self._looks: Fanout[str | None] = Fanout(health, patience=_PATIENCE)

    def home(self, run: str) -> int:
        """Return where a run of this id is created."""
        return home_of(run, self._health.names)

    def of(self, run: str) -> int:
        """Return where the run was last seen, or its home; asks nobody."""
        at = self._known.get(run)
        return self.home(run) if at is None else at

    def note(self, run: str, at: int) -> None:
        """Remember where a run is."""
        if len(self._known) >= _REMEMBERED and run not in self._known:
            self._known.clear()
        self._known[run] = at

    def elsewhere(self, run: str, at: int) -> int | None:
        """Return another server that has the run; one that does not answer is left out."""

        def look(other: int) -> Callable[[], str | None]:
            return lambda: run if self._holds[other](run) else None

        others = [other for other in range(len(self._holds)) if other != at]
        try:
            found = self._looks.ask(
                {other: look(other) for other in others if not self._health.is_down(other)}
            )
        except FlowcoreError:
            return None
        for other, whose in found.items():
            if whose == run:  # a late answer is about another run
                self.note(run, other)
                return other
        return None

    def moved(self, run: str, at: int) -> int | None:
        """Return where the run is when ``at`` does not have it; None when it does, or nobody."""
        if self._holds[at](run):
            self.note(run, at)
            return None
        return self.elsewhere(run, at)

    def locate(self, run: str) -> int:
        """Return where the run is; its home when nobody has it.

        Raises:
            StoreUnreachableError: Its home does not answer, and no other server has it.
        """
        known = self._known.get(run)
        return self.ask(run, lambda at: at, lambda _: known is None)

    def ask(self, run: str, call: Callable[[int], _T], missed: Callable[[_T], object]) -> _T:
        """Ask the server that should have the run, and the one that has it should that differ.

        Args:
            run: The run.
            call: Asks a server.
            missed: Whether this answer may mean that the server does not have the run.

        Raises:
            StoreUnreachableError: The server that has the run, as far as is known, does not answer.
        """
        at = self.of(run)
        try:
            answer = call(at)
            if not missed(answer):
                self.note(run, at)
                self._health.answered(at)
                return answer
            other = self.moved(run, at)
            if other is None:
                return answer
        except StoreUnreachableError as error:
            self._health.failed(at, error)
            # A server that hangs, unlike one that is started again, may do so for long.
            error.is_worth_waiting = not isinstance(error.__cause__, RedisTimeoutError)
            if run in self._known or (other := self.elsewhere(run, at)) is None:
                raise
        return call(other)
