"""The composition root: the only place that names adapters.

In: settings and the URLs of Redis. Out: a Runtime: the ports with their adapters behind.
"""

from dataclasses import dataclass

from celery import Celery

from flowcore.assembly.settings import Settings, split_urls
from flowcore.backends.native.app import AppOptions, Bridge, broker_url, make_app
from flowcore.backends.native.flower import RunRow, TaskEvents
from flowcore.backends.native.host import HostOptions, Services
from flowcore.backends.native.producing import Producers
from flowcore.backends.native.publish import CeleryDispatcher, queue_name
from flowcore.backends.native.signing import Keyring, Vault
from flowcore.backends.native.slots import Slots
from flowcore.stores.redis.connect import connect
from flowcore.stores.redis.placing import server_name
from flowcore.stores.redis.presence import RedisWorkerBoard
from flowcore.stores.redis.reader import RedisEventLog, RedisReader
from flowcore.stores.redis.secret import RedisVault, ShardedVault
from flowcore.stores.redis.sharded import (
    Shard,
    ShardedEventLog,
    ShardedReader,
    ShardedStore,
    ShardedWorkerBoard,
)
from flowcore.stores.redis.store import Leases, RedisStore

__all__ = ["Runtime", "build_runtime"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """One place where runs live, and the way there."""

    settings: Settings
    redis_url: str
    """As FLOWCORE_REDIS_URL names it; several are separated by commas."""
    app: Celery
    store: RedisStore | ShardedStore
    reader: RedisReader | ShardedReader
    events: RedisEventLog | ShardedEventLog
    dispatcher: CeleryDispatcher
    rows: RunRow
    board: RedisWorkerBoard | ShardedWorkerBoard
    producers: Producers
    slots: Slots
    keys: Keyring

    @property
    def redis_urls(self) -> list[str]:
        """The servers that hold the runs."""
        return split_urls(self.redis_url)

    @property
    def default_queue(self) -> str:
        """The broker's name of the default queue."""
        return self.queue(None)

    def queue(self, name: str | None) -> str:
        """The broker's name of a node's queue."""
        settings = self.settings
        return queue_name(name, default=settings.queue, namespace=settings.namespace)

    def close(self) -> None:
        """Close pooled connections."""
        self.producers.close()
        self.app.close()


def build_runtime(settings: Settings, redis_url: str) -> Runtime:
    """Wire everything; nothing is sent yet.

    Args:
        settings: What the environment says.
        redis_url: The Redis of the runs: the one in the settings, or the embedded server's. With
            several, Celery's own results and, unless told otherwise, its messages are on the first.
    """
    first = split_urls(redis_url)[0]
    services = _Builder(settings, redis_url)
    app = make_app(
        AppOptions(
            broker_url=broker_url(settings.broker_url or first),
            result_url=broker_url(first),
            queue=queue_name(None, default=settings.queue, namespace=settings.namespace),
        ),
        Bridge(
            services.build,
            HostOptions(
                heartbeat=settings.heartbeat,
                max_output=settings.max_output,
                allowed=frozenset(settings.allowed_modules),
                work_first=settings.work_first,
            ),
        ),
    )
    services.app = app
    made = services.build()
    return Runtime(
        settings=settings,
        redis_url=redis_url,
        app=app,
        store=services.store,
        reader=services.reader,
        events=services.events,
        dispatcher=made.dispatcher,
        rows=made.rows,
        board=services.board,
        producers=services.producers,
        slots=Slots(services.board),
        keys=made.keys,
    )


class _Builder:
    """Makes a process's services; kept apart because a forked child makes its own."""

    app: Celery
    store: RedisStore | ShardedStore
    reader: RedisReader | ShardedReader
    events: RedisEventLog | ShardedEventLog
    board: RedisWorkerBoard | ShardedWorkerBoard
    producers: Producers

    def __init__(self, settings: Settings, redis_url: str) -> None:
        self._settings = settings
        self._redis_url = redis_url

    def build(self) -> Services:
        shards = [self._shard(url) for url in split_urls(self._redis_url)]
        vaults = [RedisVault(shard.store.client) for shard in shards]
        vault: Vault
        if len(shards) == 1:
            (only,) = shards
            self.store, self.reader, self.events = only.store, only.reader, only.events
            self.board = only.board
            (vault,) = vaults
        else:
            self.store = ShardedStore(shards)
            vault = ShardedVault(vaults, self.store.health)
            self.reader = ShardedReader(self.store)
            self.events = ShardedEventLog(self.store)
            self.board = ShardedWorkerBoard(self.store)
        keys = Keyring(self._settings.secrets, vault=vault)
        self.producers = Producers(self.app)
        told = TaskEvents(self.app, self.producers)
        return Services(
            store=self.store,
            reader=self.reader,
            events=self.events,
            dispatcher=CeleryDispatcher(
                self.app,
                producers=self.producers,
                events=told,
                default_queue=self._settings.queue,
                keys=keys,
            ),
            rows=RunRow(told),
            board=self.board,
            keys=keys,
        )

    def _shard(self, url: str) -> Shard:
        settings = self._settings
        client = connect(url)
        store = RedisStore(
            client,
            leases=Leases(
                lease=settings.lease,
                dispatch=settings.dispatch_lease,
                retention=settings.retention,
                max_lost=settings.max_lost,
            ),
        )
        events = RedisEventLog(client, connect(url, blocking=True), plans=store)
        return Shard(
            name=server_name(url),
            store=store,
            reader=RedisReader(client, plans=store, events=events),
            events=events,
            board=RedisWorkerBoard(client),
        )
