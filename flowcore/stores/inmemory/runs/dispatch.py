"""Dispatching in memory: ``dispatch.lua`` of the Redis store said a second time.

In: what is ready. Out: what is to be published, what stays with a unit, what is held; and the
run's events and part of the agenda. Not here: why something is ready (step).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowcore.ports.store import Dispatch
from flowcore.ports.unit import Bundle, Granularity
from flowcore.run.event import Event, EventType
from flowcore.run.record import Parent
from flowcore.run.status import NodeState
from flowcore.stores.inmemory.runs.run import StoreData, StoredRun, StoredUnit
from flowcore.stores.inmemory.runs.sharing import Sharing

__all__ = ["Dispatching"]


@dataclass(slots=True)
class Dispatching:
    """The part of a step that makes messages of what is ready."""

    world: StoreData
    run: StoredRun
    now: int
    ready: list[tuple[int, int]] = field(default_factory=list)
    """(node, attempt) pairs to publish."""
    bundles: list[Bundle] = field(default_factory=list)
    late: list[tuple[tuple[int, int] | Bundle, int]] = field(default_factory=list)
    """Dispatches nobody claimed, and how many times already."""
    grain: Granularity | None = None
    """How to share out what becomes ready; None: everything is dispatched by itself."""
    spare: int = 0
    """Microseconds of work that the unit may still take."""
    idle: bool = True
    """Whether the unit has nothing to do, and so takes a node however long that is."""
    current: int | None = None
    """A node the unit is running: it stays."""
    kept: list[int] = field(default_factory=list)
    marked: bool = False
    """Whether this step has found the failure that decides the run."""
    told: Parent | None = None
    """The node that has its turn, because this run has ended."""

    def event(
        self,
        kind: EventType,
        nodes: Iterable[int] = (),
        attempt: int | None = None,
        data: Mapping[str, Any] | None = None,
        *,
        at: int | None = None,
    ) -> None:
        """Append to the run's log, now or as of ``at`` (ms)."""
        run = self.run
        run.events.append(
            Event(
                id=len(run.events) + 1,
                type=kind,
                run=run.new.id,
                time=(self.tick if at is None else at) / 1000,
                nodes=tuple(run.plan.ids[node] for node in nodes),
                attempt=attempt,
                data=data or {},
            )
        )

    @property
    def tick(self) -> int:
        """The time for the log: it never runs backwards in a run, though the clock may be set."""
        return max(self.now, self.run.last)

    def schedule(self, what: int | str, delay: float) -> None:
        """Ask for a look at a node (or the deadline, or the retention) in ``delay`` ms."""
        self.world.agenda[self.run.new.id, str(what)] = self.now + round(delay)

    def unschedule(self, what: int | str) -> None:
        """Take an entry off the agenda."""
        self.world.agenda.pop((self.run.new.id, str(what)), None)

    def share_out(self, grain: Granularity | None) -> None:
        """Read how what becomes ready is to be shared out."""
        self.grain = None if self.run.plan.max_parallel else grain
        self.spare = round(grain.budget * 1e6) if grain else 0

    def place(self, ready: Sequence[tuple[int, int]]) -> None:
        """Share out (node, attempt) pairs: some stay, some travel together, the rest alone."""
        if self.grain is None:
            self.dispatch(ready)
            return
        sharing = Sharing(self, self.grain)
        sharing.share(ready)
        for node in sharing.kept:
            self.run.nodes[node] = NodeState.RUNNING
            self.run.attempts[node] = 1
        self.kept += sharing.kept
        for nodes in sharing.together:
            self.bundle(nodes)
        listed = [*sharing.kept, *(node for nodes in sharing.together for node in nodes)]
        self.dispatch(sharing.alone, listed=listed)

    def bundle(self, nodes: list[int]) -> None:
        """Dispatch several nodes in one message."""
        run = self.run
        run.bundled += 1
        unit = f"b{run.bundled}"
        for node in nodes:
            run.nodes[node] = NodeState.DISPATCHED
        run.units[unit] = StoredUnit(set(nodes), adopted=False)
        self.schedule(unit, self.world.dispatch_lease)
        self.bundles.append(Bundle(unit=unit, node=nodes[0], count=len(nodes)))

    def write_unit(self, unit: str, nodes: set[int], *, told: int | None = None) -> None:
        """Keep what a worker's unit owns; nothing is left of one without nodes."""
        if nodes:
            old = self.run.units.get(unit)
            since = old.since if old is not None and old.adopted else self.tick
            self.run.units[unit] = StoredUnit(nodes, adopted=True, told=told, since=since)
            self.schedule(unit, self.world.lease)
        else:
            self.run.units.pop(unit, None)
            self.unschedule(unit)

    def take_slots(self, count: int) -> None:
        """Take slots of ``max_parallel``, or give them back."""
        if self.run.plan.max_parallel:
            self.run.active += count

    def dispatch(self, pairs: Iterable[tuple[int, int]], *, listed: Iterable[int] = ()) -> None:
        """Record the intent to dispatch (node, attempt) pairs, as far as slots are free.

        The event names those already ``listed`` too.
        """
        run, listed = self.run, list(listed)
        for node, attempt in pairs:
            full = run.plan.max_parallel and run.active >= run.plan.max_parallel
            if full or run.is_paused:
                run.nodes[node] = NodeState.HELD
                run.held.append(node)
                continue
            self.take_slots(1)
            run.nodes[node] = NodeState.DISPATCHED
            self.schedule(node, self.world.dispatch_lease)
            listed.append(node)
            self.ready.append((node, attempt))
        if listed:
            self.event(EventType.NODES_DISPATCHED, sorted(listed))

    def release(self) -> None:
        """Give free slots to the nodes that were held, oldest first."""
        run = self.run
        while run.held and not run.is_paused and run.active < (run.plan.max_parallel or 0):
            node = run.held.popleft()
            self.dispatch([(node, run.attempts[node] + 1)])

    def announce(self) -> Dispatch | None:
        """Say what the caller must publish; None for nothing."""
        return self.dispatch_of(self.ready, self.bundles)

    def dispatch_of(
        self, nodes: Sequence[tuple[int, int]], bundles: Sequence[Bundle]
    ) -> Dispatch | None:
        """Put nodes and bundles into a dispatch; None for nothing."""
        if not nodes and not bundles:
            return None
        run = self.run
        return Dispatch(
            run=run.new.id,
            plan=run.plan.hash,
            flow=run.plan.flow,
            namespace=run.new.namespace,
            priority=run.new.priority,
            nodes=tuple(nodes),
            bundles=tuple(bundles),
        )
