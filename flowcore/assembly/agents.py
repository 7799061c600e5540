"""How agents are wired: the part of the composition root that is theirs.

In: settings, and what the process has already. Out: AgentServices. Tasks of agents are kept on the
first server, where Celery's messages are too.
"""

from flowcore.assembly.settings import Settings
from flowcore.backends.a2a.ringing import KombuBell
from flowcore.backends.a2a.step import AgentServices
from flowcore.backends.native.producing import Producers
from flowcore.engine.agents import Caller
from flowcore.ports.agents import Signer
from flowcore.stores.redis.agents import AgentLeases, RedisAgents, RedisDirectory
from flowcore.stores.redis.connect import connect

__all__ = ["build_agents"]


def build_agents(
    settings: Settings, url: str, *, producers: Producers, keys: Signer, quorum: bool
) -> AgentServices:
    """Wire them; nothing is sent yet."""
    client = connect(url)
    leases = AgentLeases(
        lease=settings.lease,
        dispatch=settings.dispatch_lease,
        retention=settings.retention,
        max_lost=settings.max_lost,
    )
    store = RedisAgents(client, connect(url, blocking=True), leases=leases)
    bell = KombuBell(producers.batch, keys=keys, namespace=settings.namespace, quorum=quorum)
    return AgentServices(
        caller=Caller(store, RedisDirectory(client), bell),
        listener=store,
        keys=keys,
        namespace=settings.namespace,
        quorum=quorum,
        heartbeat=settings.heartbeat,
        modules=settings.agents,
    )
