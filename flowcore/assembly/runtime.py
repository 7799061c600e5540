"""The composition root: the only place that names adapters.

In: settings and the URLs of Redis. Out: a Runtime: the ports with their adapters behind.
"""

from dataclasses import dataclass
from typing import Any

from celery import Celery

from flowcore.assembly.agents import HostStep, build_agents, with_agents
from flowcore.assembly.engines import engine_versions
from flowcore.assembly.payloads import make_payloads, payload_look
from flowcore.assembly.peers import Peers
from flowcore.assembly.secrets import WorkerSecrets
from flowcore.assembly.settings import REDIS_SCHEMES, Settings, split_urls
from flowcore.celery.agents.services import AgentServices
from flowcore.celery.app import AppOptions, WorkerBootstrap, make_app
from flowcore.celery.capacity import Slots
from flowcore.celery.dispatcher import CeleryDispatcher, queue_name
from flowcore.celery.external_tasks import CelerySender
from flowcore.celery.kombu.brokers import (
    AMQP_SCHEMES,
    Place,
    amqp_place,
    redis_place,
    sentinel_place,
)
from flowcore.celery.kombu.producers import Producers
from flowcore.celery.monitoring.task_events import RunTaskEvents, TaskEvents
from flowcore.celery.node_runner import HostOptions
from flowcore.celery.services import Services
from flowcore.celery.signing import Keyring, SigningKeyStore
from flowcore.celery.steps.callbacks import CallbackStep
from flowcore.engine.background.callbacks import CallbackRunner, find_callbacks
from flowcore.engine.background.scheduler import Scheduler
from flowcore.engine.policies.pipeline import SharedState
from flowcore.engine.runs.scheduled import EngineFiring
from flowcore.engine.values.event_limits import Limits
from flowcore.engine.values.isolation import Isolation
from flowcore.engine.values.payloads import Payloads
from flowcore.errors import StoreUnreachableError
from flowcore.ports.payloads import PayloadLedger, PayloadStore
from flowcore.stores.redis.breaker import RedisBreakers
from flowcore.stores.redis.cache import RedisCache
from flowcore.stores.redis.callbacks import RedisCallbackDesk, ShardedCallbackDesk
from flowcore.stores.redis.connection.capacity import RedisRoom
from flowcore.stores.redis.connection.connect import connect, translated
from flowcore.stores.redis.connection.placement import server_name
from flowcore.stores.redis.connection.protection import refuse_unprotected
from flowcore.stores.redis.connection.sentinel import SentinelAddress, is_sentinel
from flowcore.stores.redis.flows import RedisFlows
from flowcore.stores.redis.limiter import RedisLimiter
from flowcore.stores.redis.memory import RedisMemory, ShardedMemory
from flowcore.stores.redis.payloads import RedisLedger, RedisPayloads
from flowcore.stores.redis.refusals import RedisRefusals
from flowcore.stores.redis.runs.event_log import RedisEventLog
from flowcore.stores.redis.runs.leases import Leases
from flowcore.stores.redis.runs.reader import RedisReader
from flowcore.stores.redis.runs.replicas import ReplicatedStore
from flowcore.stores.redis.runs.store import RedisStore
from flowcore.stores.redis.schedules import RedisSchedules
from flowcore.stores.redis.sharding.events import ShardedEventLog
from flowcore.stores.redis.sharding.payloads import ShardedLedger, ShardedPayloads
from flowcore.stores.redis.sharding.runs import ShardedReader, ShardedStore
from flowcore.stores.redis.sharding.shard import Shard
from flowcore.stores.redis.sharding.workers import ShardedRoom, ShardedWorkerBoard
from flowcore.stores.redis.signing_key import RedisVault, ShardedVault
from flowcore.stores.redis.troubles import RedisTroubles, ShardedTroubles
from flowcore.stores.redis.workers import RedisWorkerBoard

__all__ = ["Runtime", "build_runtime", "place"]


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
    rows: RunTaskEvents
    board: RedisWorkerBoard | ShardedWorkerBoard
    room: RedisRoom | ShardedRoom
    producers: Producers
    payloads: Payloads
    memory: RedisMemory | ShardedMemory
    slots: Slots
    keys: Keyring
    agents: AgentServices
    flows: RedisFlows
    schedules: RedisSchedules
    peers: Peers
    troubles: RedisTroubles | ShardedTroubles
    refusals: RedisRefusals

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

    def check_servers(self) -> None:
        """Ask the servers whether they could hold runs, and messages if that is a Redis too.

        Raises:
            StoreUnreachableError: One of them does not answer.
            UnprotectedServerError: One is on another machine and has no password.
            WrongServerError: One is a Cluster or a Sentinel.
        """
        silent: StoreUnreachableError | None = None
        permitted = self.settings.unprotected_redis
        for url in sorted({*self.redis_urls, self.settings.broker_url or self.redis_urls[0]}):
            if url.partition("://")[0] in REDIS_SCHEMES:
                try:
                    with connect(url, unprotected=permitted) as client, translated():
                        client.ping()
                        if not permitted:
                            refuse_unprotected(client)
                except StoreUnreachableError as error:
                    silent = error  # others may still be the wrong ones
        if silent is not None:
            raise silent

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
    broker = place(settings.broker_url or first)
    app: Any = make_app(  # gets an attribute of ours
        AppOptions(
            broker=broker,
            results=place(first),
            queue=queue_name(None, default=settings.queue, namespace=settings.namespace),
            namespace=settings.namespace,
        ),
        WorkerBootstrap(
            services.build,
            HostOptions(
                heartbeat=settings.heartbeat,
                stalled=settings.stalled,
                limits=Limits(event=settings.max_event, prints=settings.capture_print),
                work_first=settings.work_first,
                engines=engine_versions,
            ),
        ),
    )
    services.app = app
    made = services.build()
    agents = build_agents(
        settings,
        redis_url,
        producers=services.producers,
        keys=made.keys,
        quorum=broker.quorum,
        troubles=services.troubles,
    )
    app.flowcore_agents = lambda: agents
    app.steps["worker"].add(HostStep)
    if settings.callbacks:
        app.flowcore_callbacks = services.teller
        app.steps["worker"].add(CallbackStep)
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
        memory=services.memory,
        slots=Slots(services.board),
        keys=made.keys,
        agents=agents,
        flows=services.flows,
        schedules=services.schedules,
        peers=Peers(services.board, namespace=settings.namespace),
        troubles=services.troubles,
        refusals=services.refusals,
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
    store: RedisStore | ShardedStore
    reader: RedisReader | ShardedReader
    events: RedisEventLog | ShardedEventLog
    board: RedisWorkerBoard | ShardedWorkerBoard
    room: RedisRoom | ShardedRoom
    memory: RedisMemory | ShardedMemory
    producers: Producers
    flows: RedisFlows
    schedules: RedisSchedules
    troubles: RedisTroubles | ShardedTroubles
    refusals: RedisRefusals

    def __init__(self, settings: Settings, redis_url: str) -> None:
        self._settings = settings
        self._redis_url = redis_url

    def build(self) -> Services:
        settings = self._settings
        shards = [self._shard(url) for url in split_urls(self._redis_url)]
        clients = [shard.store.client for shard in shards]
        look = payload_look(settings)
        vaults = [RedisVault(client) for client in clients]
        ledgers = [RedisLedger(client, look=look) for client in clients]
        threads = [RedisMemory(client, space=settings.namespace) for client in clients]
        boxes = [RedisPayloads(client) for client in clients]
        vault: SigningKeyStore
        ledger: PayloadLedger
        box: PayloadStore
        if len(shards) == 1:
            (only,) = shards
            self.store, self.reader, self.events = only.store, only.reader, only.events
            self.board, self.room = only.board, only.room
            (vault,), (ledger,), (box,), (self.memory,) = vaults, ledgers, boxes, threads
            self.troubles = RedisTroubles(clients[0])
        else:
            self.store = ShardedStore(shards)
            self.reader, self.events = ShardedReader(self.store), ShardedEventLog(self.store)
            self.board, self.room = ShardedWorkerBoard(self.store), ShardedRoom(self.store)
            names = [shard.name for shard in shards]
            self.memory = ShardedMemory(dict(zip(names, threads, strict=True)))
            vault = ShardedVault(vaults, self.store.health)
            ledger = ShardedLedger(ledgers, self.store)
            box = ShardedPayloads(boxes, ledger)
            self.troubles = ShardedTroubles([*map(RedisTroubles, clients)], self.store.health)
        app: Any = self.app  # its type knows nothing of our attribute
        keys = Keyring(
            settings.secrets,
            vault=vault,
            servers=len(shards),
            on_refusal=app.flowcore.refuser.keep,
        )
        self.producers = Producers(self.app)
        told = TaskEvents(self.app, self.producers)
        # What all workers share is kept in one place.
        self.flows = RedisFlows(clients[0], namespace=settings.namespace)
        self.schedules = RedisSchedules(clients[0], namespace=settings.namespace)
        self.refusals = RedisRefusals(clients[0])
        payloads = make_payloads(settings, ledger, box)
        payloads.isolation = Isolation("payloads", self.troubles)
        dispatcher = with_agents(
            CeleryDispatcher(
                self.app,
                producers=self.producers,
                events=told,
                default_queue=settings.queue,
                keys=keys,
            ),
            settings,
            producers=self.producers,
            keys=keys,
            quorum=place(settings.broker_url or split_urls(self._redis_url)[0]).quorum,
        )
        firing = EngineFiring(
            store=self.store,
            reader=self.reader,
            dispatcher=dispatcher,
            payloads=payloads,
            flows=self.flows,
            namespace=settings.namespace,
        )
        return Services(
            store=self.store,
            reader=self.reader,
            events=self.events,
            dispatcher=dispatcher,
            rows=RunTaskEvents(told),
            board=self.board,
            shared=SharedState(
                limiter=RedisLimiter(clients[0], lease=settings.lease),
                breakers=RedisBreakers(clients[0]),
                cache=RedisCache(clients[0]),
            ),
            room=self.room,
            payloads=payloads,
            memory=self.memory,
            keys=keys,
            scheduler=Scheduler(
                self.schedules,
                lambda: firing,
                isolation=Isolation("schedules", self.troubles),
            ),
            troubles=self.troubles,
            secrets=WorkerSecrets(settings.secrets_dir, settings.secret_names),
            refusals=self.refusals,
            tasks=CelerySender(
                self.app,
                self.producers,
                keys,
                queue=queue_name(None, default=settings.queue, namespace=settings.namespace),
            ),
        )

    def teller(self) -> CallbackRunner:
        """Make what a worker tells its callbacks with; ``UsageError`` if one cannot be found."""
        settings = self._settings
        heard = [find_callbacks(name) for name in settings.callbacks]
        urls = split_urls(self._redis_url)
        clients = [connect(url, unprotected=settings.unprotected_redis) for url in urls]
        desks = [RedisCallbackDesk(client, namespace=settings.namespace) for client in clients]
        health = self.store.health if isinstance(self.store, ShardedStore) else None
        desk = desks[0] if len(desks) == 1 else ShardedCallbackDesk(desks, health)
        return CallbackRunner(
            heard, desk=desk, events=self.events, lease=settings.lease, troubles=self.troubles
        )

    def _shard(self, url: str) -> Shard:
        settings = self._settings
        several = len(split_urls(self._redis_url)) > 1
        client = connect(url, unprotected=settings.unprotected_redis, is_one_of_several=several)
        leases = Leases(
            lease=settings.lease,
            dispatch=settings.dispatch_lease,
            retention=settings.retention,
            max_lost=settings.max_lost,
        )
        if settings.replicas:
            store: RedisStore = ReplicatedStore(client, leases=leases, replicas=settings.replicas)
        else:
            store = RedisStore(client, leases=leases)
        listening = connect(url, blocking=True, unprotected=settings.unprotected_redis)
        events = RedisEventLog(client, listening, plans=store)
        return Shard(
            name=(name := server_name(url)),
            store=store,
            reader=RedisReader(client, plans=store, events=events),
            events=events,
            board=RedisWorkerBoard(client),
            room=RedisRoom(client, name=None if several else name),
        )
