"""The composition root: the only place that names adapters.

In: settings and a Redis URL. Out: a Runtime, that is, the ports with their adapters behind them.
"""

from dataclasses import dataclass

from celery import Celery

from flowcore.assembly.payloads import make_payloads
from flowcore.assembly.settings import REDIS_SCHEMES, Settings
from flowcore.backends.native.app import AppOptions, Bridge, make_app
from flowcore.backends.native.broker import (
    AMQP_SCHEMES,
    Place,
    amqp_place,
    redis_place,
    sentinel_place,
)
from flowcore.backends.native.flower import RunRow, TaskEvents
from flowcore.backends.native.host import HostOptions, Services
from flowcore.backends.native.producing import Producers
from flowcore.backends.native.publish import CeleryDispatcher, queue_name
from flowcore.backends.native.slots import Slots
from flowcore.engine.payloads import Payloads
from flowcore.stores.redis.connect import connect, translated
from flowcore.stores.redis.limiter import RedisLimiter
from flowcore.stores.redis.presence import RedisWorkerBoard
from flowcore.stores.redis.reader import RedisEventLog, RedisReader
from flowcore.stores.redis.room import RedisRoom
from flowcore.stores.redis.sentinel import SentinelAddress, is_sentinel
from flowcore.stores.redis.store import Leases, RedisStore

__all__ = ["Runtime", "build_runtime", "place"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """One place where runs live, and the way there."""

    settings: Settings
    redis_url: str
    app: Celery
    store: RedisStore
    reader: RedisReader
    events: RedisEventLog
    dispatcher: CeleryDispatcher
    rows: RunRow
    board: RedisWorkerBoard
    room: RedisRoom
    producers: Producers
    payloads: Payloads
    slots: Slots

    @property
    def default_queue(self) -> str:
        """The broker's name of the default queue."""
        return self.queue(None)

    def queue(self, name: str | None) -> str:
        """The broker's name of a node's queue."""
        settings = self.settings
        return queue_name(name, default=settings.queue, namespace=settings.namespace)

    def check_servers(self) -> None:
        """Ask the servers whether they could hold runs, and messages if that is a Redis too.

        Raises:
            StoreUnreachableError: One of them does not answer.
            WrongServerError: One is a Cluster or a Sentinel.
        """
        urls = {self.redis_url, self.settings.broker_url or self.redis_url}
        for url in sorted(urls):
            if url.partition("://")[0] in REDIS_SCHEMES:
                with connect(url) as client, translated():
                    client.ping()

    def close(self) -> None:
        """Close pooled connections."""
        self.producers.close()
        self.app.close()


def build_runtime(settings: Settings, redis_url: str) -> Runtime:
    """Wire everything; nothing is sent yet.

    Args:
        settings: What the environment says.
        redis_url: The Redis of the runs: the one in the settings, or the embedded server's.
    """
    services = _Builder(settings, redis_url)
    app = make_app(
        AppOptions(
            broker=place(settings.broker_url or redis_url),
            results=place(redis_url),
            queue=queue_name(None, default=settings.queue, namespace=settings.namespace),
        ),
        Bridge(
            services.build,
            HostOptions(
                heartbeat=settings.heartbeat,
                max_event=settings.max_event,
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
        room=services.room,
        producers=services.producers,
        payloads=made.payloads,
        slots=Slots(services.board),
    )


def place(url: str) -> Place:
    """Spell one of the settings' URLs for Celery."""
    if is_sentinel(url):
        address = SentinelAddress.parse(url)
        return sentinel_place(
            address.hosts,
            name=address.name,
            db=address.db,
            login=address.login,
            sentinel_login=address.sentinel_login,
        )
    if url.partition("://")[0] in AMQP_SCHEMES:
        return amqp_place(url)
    return redis_place(url)


class _Builder:
    """Makes a process's services; kept apart because a forked child makes its own."""

    app: Celery
    store: RedisStore
    reader: RedisReader
    events: RedisEventLog
    board: RedisWorkerBoard
    room: RedisRoom
    producers: Producers

    def __init__(self, settings: Settings, redis_url: str) -> None:
        self._settings = settings
        self._redis_url = redis_url

    def build(self) -> Services:
        settings = self._settings
        client = connect(self._redis_url)
        self.store = RedisStore(
            client,
            leases=Leases(
                lease=settings.lease,
                dispatch=settings.dispatch_lease,
                retention=settings.retention,
                max_lost=settings.max_lost,
            ),
        )
        waiting = connect(self._redis_url, blocking=True)
        self.events = RedisEventLog(client, waiting, plans=self.store)
        self.reader = RedisReader(client, plans=self.store, events=self.events)
        self.board = RedisWorkerBoard(client)
        self.room = RedisRoom(client)
        self.producers = Producers(self.app)
        told = TaskEvents(self.app, self.producers)
        return Services(
            store=self.store,
            reader=self.reader,
            events=self.events,
            dispatcher=CeleryDispatcher(
                self.app, producers=self.producers, events=told, default_queue=settings.queue
            ),
            rows=RunRow(told),
            board=self.board,
            limiter=RedisLimiter(client, lease=settings.lease),
            room=self.room,
            payloads=make_payloads(settings, client),
        )
