"""The ports that a worker process uses.

In: nothing. Out: Services. Not here: opening them (assembly).
"""

from dataclasses import dataclass

from flowcore.celery.dispatcher import CeleryDispatcher
from flowcore.celery.monitoring.task_events import RunTaskEvents
from flowcore.celery.signing import Keyring
from flowcore.engine.background.scheduler import Scheduler
from flowcore.engine.policies.pipeline import SharedState
from flowcore.engine.values.payloads import Payloads
from flowcore.ports.capacity import StoreCapacity
from flowcore.ports.external_tasks import TaskSender
from flowcore.ports.memory import MemoryStore
from flowcore.ports.refusals import RefusalLog
from flowcore.ports.secrets import SecretSource
from flowcore.ports.store import EventLog, RunReader, RunStore
from flowcore.ports.troubles import TroubleBook
from flowcore.ports.workers import WorkerRegistry

__all__ = ["Services"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The ports a worker process uses."""

    store: RunStore
    reader: RunReader
    events: EventLog
    dispatcher: CeleryDispatcher
    rows: RunTaskEvents
    board: WorkerRegistry
    shared: SharedState
    room: StoreCapacity
    payloads: Payloads
    memory: MemoryStore
    keys: Keyring
    scheduler: Scheduler
    tasks: TaskSender
    refusals: RefusalLog
    secrets: SecretSource
    troubles: TroubleBook | None = None
