"""The engine of a test: the one that workers run, with the ports of this process.

In: a place, a clock, what stands for functions. Out: an Executor. Not here: whose turn it is
(flows).
"""

from collections.abc import Callable
from typing import Any

from flowcore.engine.child_runs.structured import StructuredNodes
from flowcore.engine.policies.pipeline import SharedState
from flowcore.engine.runs.children import EngineChildren
from flowcore.engine.values.event_limits import Limits
from flowcore.engine.worker.executor import Executor
from flowcore.engine.worker.ports import ExecutorPorts
from flowcore.ports.external_tasks import TaskSender
from flowcore.ports.secrets import SecretSource
from flowcore.stores.inmemory.breaker import InMemoryBreakers
from flowcore.stores.inmemory.cache import InMemoryCache
from flowcore.stores.inmemory.limiter import InMemoryLimiter
from flowcore.testing.doubles import NoLeases
from flowcore.testing.environment import FOR_EVER, InProcess

__all__ = ["make_executor"]


def make_executor(
    place: InProcess,
    clock: Callable[[], float],
    *,
    sender: TaskSender,
    secrets: SecretSource,
    **more: Any,
) -> Executor:
    """Wire an executor.

    Args:
        place: Where runs live.
        clock: Unix seconds, by which limits, circuits and caches count.
        sender: Answers for Celery tasks of somebody else.
        secrets: Those that the test gives.
        more: What else the test arranges: see ``Executor``.
    """
    ports = place.runtime
    return Executor(
        ExecutorPorts(
            limits=Limits(),
            store=ports.store,
            reader=ports.reader,
            events=ports.events,
            shared=SharedState(
                limiter=InMemoryLimiter(clock=clock, lease=FOR_EVER),
                breakers=InMemoryBreakers(clock=clock),
                cache=InMemoryCache(clock=clock),
            ),
            payloads=ports.payloads,
            memory=ports.memory,
            sender=sender,
            secrets=secrets,
            spawner=StructuredNodes(
                ports.store,
                ports.payloads,
                EngineChildren(
                    store=ports.store,
                    reader=ports.reader,
                    dispatcher=ports.dispatcher,
                    payloads=ports.payloads,
                    slots=None,
                ),
            ),
        ),
        keeper=NoLeases(ports.store, interval=3600.0),
        **more,
    )
