"""The ports that attempts use.

In: nothing. Out: ExecutorPorts. Not here: using them (executor), opening them (assembly).
"""

from collections.abc import Callable
from dataclasses import dataclass

from flowcore.engine.child_runs.structured import StructuredNodes
from flowcore.engine.policies.pipeline import SharedState, plain_digest
from flowcore.engine.values.event_limits import Limits
from flowcore.engine.values.payloads import Payloads
from flowcore.ports.external_tasks import TaskSender
from flowcore.ports.memory import MemoryStore
from flowcore.ports.secrets import SecretSource
from flowcore.ports.store import EventLog, RunReader, RunStore

__all__ = ["ExecutorPorts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorPorts:
    """Stores and services that attempts use."""

    store: RunStore
    reader: RunReader
    """For outputs that did not come with the claim."""
    events: EventLog
    """For events that nodes emit."""
    shared: SharedState
    """Limits, circuits and cached outputs that all workers share."""
    payloads: Payloads
    """Packs outputs, and keeps large ones elsewhere."""
    limits: Limits
    """Bounds of the events that nodes emit."""
    memory: MemoryStore | None = None
    spawner: StructuredNodes | None = None
    """For nodes that start child runs."""
    sender: TaskSender | None = None
    """For nodes that are external Celery tasks."""
    secrets: SecretSource | None = None
    digest: Callable[[bytes], bytes] = plain_digest
    """Hashes the arguments of cached nodes, which may hold secrets."""
