"""One server of several.

In: nothing. Out: Shard. Not here: choosing among them (connection.placement).
"""

from dataclasses import dataclass

from flowcore.stores.redis.connection.capacity import RedisRoom
from flowcore.stores.redis.connection.connect import ping, translated
from flowcore.stores.redis.keys import run_key
from flowcore.stores.redis.runs.event_log import RedisEventLog
from flowcore.stores.redis.runs.reader import RedisReader
from flowcore.stores.redis.runs.store import RedisStore
from flowcore.stores.redis.workers import RedisWorkerBoard

__all__ = ["Shard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One server."""

    name: str
    store: RedisStore
    reader: RedisReader
    events: RedisEventLog
    board: RedisWorkerBoard
    room: RedisRoom

    def ping(self) -> None:
        """Ask it for a sign of life, for a few seconds.

        Raises:
            StoreUnreachableError: There is none; names the server.
        """
        ping(self.store.client, name=self.name)

    def holds(self, run: str) -> bool:
        """Say whether the run is here."""
        with translated():
            return bool(self.store.client.exists(run_key(run, "run")))
