"""Wiring of agents: their part of the composition root.

In: settings, and what the process has already. Out: AgentServices. Tasks of agents are kept on the
first server, where Celery's messages are too.
"""

from typing import Any

from flowcore.agents.message import Json
from flowcore.assembly.agent_launch import launcher
from flowcore.assembly.settings import Settings, split_urls
from flowcore.celery.agents.node_dispatcher import NodeAgents
from flowcore.celery.agents.notifier import KombuBell
from flowcore.celery.agents.services import AgentServices
from flowcore.celery.dispatcher import CeleryDispatcher, queue_name
from flowcore.celery.kombu.producers import Producers
from flowcore.celery.monitoring.worker_info import marked_callables
from flowcore.celery.steps.agents import AgentStep
from flowcore.engine.agents.caller import AgentCaller
from flowcore.ports.agents import Signer
from flowcore.ports.store import Dispatch
from flowcore.ports.troubles import TroubleBook
from flowcore.stores.redis.agents import AgentLeases, RedisAgents, RedisDirectory
from flowcore.stores.redis.connection.connect import connect
from flowcore.stores.redis.workers import RedisWorkerBoard

__all__ = ["HostStep", "build_agents", "with_agents"]


class HostStep(AgentStep):
    """Starts after the worker has said which queues it serves: some of them become agents'."""

    # By name, as workers alone import it.
    requires = ("flowcore.celery.steps.janitor:JanitorStep",)


def with_agents(
    dispatcher: CeleryDispatcher,
    settings: Settings,
    *,
    producers: Producers,
    keys: Signer,
    quorum: bool,
) -> Any:
    """Send nodes of the a2a backend as agents' messages, all others as before."""
    bell = KombuBell(producers.batch, keys=keys, namespace=settings.namespace, quorum=quorum)

    def post(dispatch: Dispatch, queue: str, messages: list[Json]) -> None:
        name = queue_name(
            queue,
            default=settings.queue,
            namespace=dispatch.namespace,
            priority=dispatch.priority,
        )
        bell.post(name, messages)

    return NodeAgents(dispatcher, post)


def build_agents(
    settings: Settings,
    redis_url: str,
    *,
    producers: Producers,
    keys: Signer,
    quorum: bool,
    troubles: TroubleBook | None = None,
) -> AgentServices:
    """Wire them; nothing is sent yet."""
    url = split_urls(redis_url)[0]
    client = connect(url, unprotected=settings.unprotected_redis)
    leases = AgentLeases(
        lease=settings.lease,
        dispatch=settings.dispatch_lease,
        retention=settings.retention,
        max_lost=settings.max_lost,
    )
    # Those who read the names ask all servers.
    board = RedisWorkerBoard(client)
    listening = connect(url, blocking=True, unprotected=settings.unprotected_redis)
    store = RedisAgents(client, listening, leases=leases)
    bell = KombuBell(producers.batch, keys=keys, namespace=settings.namespace, quorum=quorum)
    return AgentServices(
        caller=AgentCaller(store, RedisDirectory(client, namespace=settings.namespace), bell),
        listener=store,
        keys=keys,
        namespace=settings.namespace,
        quorum=quorum,
        heartbeat=settings.heartbeat,
        modules=settings.agents,
        troubles=troubles,
        launch=launcher(settings, redis_url),
        lease=settings.lease,
        announce=lambda note: board.offer(note, marked_callables()),
    )
