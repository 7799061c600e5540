"""The event logs of several servers: a run's is where the run is.

In: runs. Out: the events that the server with the run has. Not here: which one that is
(redis.connection.placement).
"""

from collections.abc import Sequence

from flowcore.ports.store import AppendResult, AttemptRef
from flowcore.ports.watch import RunWatch
from flowcore.run.event import Event
from flowcore.run.node_event import Note
from flowcore.stores.redis.runs.event_log import RedisEventLog
from flowcore.stores.redis.sharding.runs import ShardedStore

__all__ = ["ShardedEventLog"]


class ShardedEventLog:
    """Implements ``EventLog`` on several servers."""

    def __init__(self, store: ShardedStore) -> None:
        """Read what ``store`` writes."""
        self._shards = store.shards
        self._place = store.placement

    def append(self, ticket: AttemptRef, notes: Sequence[Note], *, number: int) -> AppendResult:
        """Add what a node has said, if its attempt is still the valid one."""
        return self._place.ask(
            ticket.run,
            lambda at: self._shards[at].events.append(ticket, notes, number=number),
            lambda heard: heard is AppendResult.STALE,
        )

    def read(self, run: str, *, after: int = 0, block: float | None = None) -> Sequence[Event]:
        """Return events above ``after``; waits on the one server that has the run."""
        return self._events(run).read(run, after=after, block=block)

    @property
    def servers(self) -> int:
        """Number of servers."""
        return len(self._shards)

    def place(self, run: str) -> int:
        """Return the number of the server that has a run."""
        return self._place.locate(run)

    def watch(self, at: int) -> RunWatch:
        """Make a watch of a server."""
        return self._shards[at].events.watch(0)

    def last(self, run: str) -> int:
        """Return the id of the run's latest event."""
        return self._events(run).last(run)

    def wait(self, run: str, *, timeout: float) -> bool:
        """Wait for the run to end."""
        return self._events(run).wait(run, timeout=timeout)

    def read_all(self, run: str) -> list[Event]:
        """Return every event so far."""
        return self._events(run).read_all(run)

    def _events(self, run: str) -> RedisEventLog:
        return self._shards[self._place.locate(run)].events
