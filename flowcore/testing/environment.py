"""Environment of a test's runs: the ports of a session, in this process.

In: a clock. Out: what handles, schedules and threads of memory of the client stand on, without a
server. Not here: running nodes (flows).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flowcore.assembly.payloads import MOST_IN_REDIS
from flowcore.engine.background.scheduler import Scheduler
from flowcore.engine.runs.scheduled import EngineFiring
from flowcore.engine.values.payloads import Payloads
from flowcore.errors import RunNotFoundError
from flowcore.plan.plan import Plan
from flowcore.ports.store import Dispatch
from flowcore.stores.inmemory.flows import InMemoryFlows
from flowcore.stores.inmemory.memory import InMemoryMemory
from flowcore.stores.inmemory.runs.run import RETENTION
from flowcore.stores.inmemory.runs.store import InMemoryStore
from flowcore.stores.inmemory.schedules import InMemorySchedules
from flowcore.testing.doubles import Messages

__all__ = ["FOR_EVER", "InProcess", "InProcessRuntime"]

_T = TypeVar("_T")

#: Seconds: nothing here dies while it works, however much time a test lets pass.
FOR_EVER = 100 * 365 * 86400.0


@dataclass(frozen=True)
class _Settings:
    namespace: str = ""
    work_first: bool = False


class _Nothing:
    """Answers without other processes: nobody is behind, full, or waiting for a notification."""

    def check(self) -> None:
        """No worker is of another version."""

    def admit(self) -> None:
        """There is room."""

    def sent(self, **_: Any) -> None:
        """There is no Flower."""


@dataclass(frozen=True, kw_only=True)
class InProcessRuntime:
    """The ports, as ``assembly.runtime.Runtime`` names them."""

    store: InMemoryStore
    flows: InMemoryFlows
    schedules: InMemorySchedules
    memory: InMemoryMemory
    dispatcher: Messages
    payloads: Payloads = field(default_factory=lambda: Payloads(limit=MOST_IN_REDIS))
    settings: _Settings = field(default_factory=_Settings)
    peers: _Nothing = field(default_factory=_Nothing)
    room: _Nothing = field(default_factory=_Nothing)
    rows: _Nothing = field(default_factory=_Nothing)
    default_queue: str = "flowcore"

    @property
    def reader(self) -> InMemoryStore:
        """The store reads, too."""
        return self.store

    @property
    def events(self) -> InMemoryStore:
        """The store keeps the logs of runs, too."""
        return self.store


class InProcess:
    """A session without a server; passed where the client takes a ``Session``."""

    embedded = False
    has_workers = False

    def __init__(self, clock: Callable[[], float], *, runner: Any = None) -> None:
        """Begin with nothing, at the time of ``clock``; ``runner`` runs the nodes."""
        self.runner = runner
        store = InMemoryStore(clock=clock, lease=FOR_EVER)
        self.runtime = InProcessRuntime(
            store=store,
            flows=InMemoryFlows(store),
            schedules=InMemorySchedules(clock=clock),
            memory=InMemoryMemory(clock=clock),
            dispatcher=Messages(),
        )
        firing = EngineFiring(
            store=store,
            reader=store,
            dispatcher=self.runtime.dispatcher,
            payloads=self.runtime.payloads,
            flows=self.runtime.flows,
            namespace="",
        )
        self.scheduler = Scheduler(self.runtime.schedules, lambda: firing)

    def check_broker(self) -> None:
        """Messages do not leave this process."""

    def persist(self, call: Callable[[], _T]) -> _T:
        """Call: nothing is out of reach."""
        return call()

    def publish(self, dispatch: Dispatch | None) -> None:
        """Put into the queue what became ready."""
        if dispatch is not None:
            self.runtime.dispatcher.publish(dispatch, self.runtime.store.get_plan(dispatch.plan))

    def agenda(self) -> list[tuple[str, float]]:
        """When something falls due in which run; what runs are kept for is none of it."""
        entries = self.runtime.store._world.agenda.items()  # noqa: SLF001  (its own tests' store)
        return [(run, at / 1000) for (run, what), at in entries if what != RETENTION]

    def open_runs(self) -> frozenset[str]:
        """The runs that have not ended, those inside them apart."""
        runs = self.runtime.store._world.runs.values()  # noqa: SLF001
        there = [run.new.id for run in runs if not run.state.is_terminal]
        return frozenset(id.partition("/")[0] for id in there)

    def next_time(self, now: float) -> float | None:
        """The next time of a schedule after ``now``."""
        kept = self.runtime.schedules.schedules()
        due = [one.due for one in kept if one.due is not None and not one.paused]
        return min((at for at in due if at > now), default=None)

    def plan_of(self, run: str) -> Plan:
        """The plan of a run that there is."""
        row = self.runtime.store.summary(run)
        if row is None:
            raise RunNotFoundError(run)
        return self.runtime.store.get_plan(row.plan)
