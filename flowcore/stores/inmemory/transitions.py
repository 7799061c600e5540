"""Moving a run: what every write does, as plain Python.

In: one command on one run. Out: the run moved, its events appended, what to publish. This is
``web.lua`` of the Redis store said a second time, rule for rule; change both or neither.
Not here: who may call what (store), what is overdue (sweeping).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowcore.plan.reuse import Frontier
from flowcore.ports.store import Dispatch, Wait
from flowcore.ports.unit import Bundle, Grain
from flowcore.run.event import Event, EventType
from flowcore.run.record import Failure
from flowcore.run.status import NodeState, RunState
from flowcore.stores.inmemory.sharing import Sharing
from flowcore.stores.inmemory.state import DEADLINE, PLAN_GRACE, RETENTION, KeptRun, KeptUnit, World

__all__ = ["Step"]

#: Whether a join runs, from how many of its live predecessors succeeded and failed.
_RULES: Mapping[str, Callable[[int, int], bool]] = {
    "all_success": lambda ok, bad: ok > 0 and bad == 0,
    "all_done": lambda _ok, _bad: True,
    "any_success": lambda ok, _bad: ok > 0,
    "none_failed": lambda _ok, bad: bad == 0,
}
_ACCEPTS_FAILURE = frozenset({"all_done", "any_success"})
_QUEUED = frozenset(
    {
        NodeState.PENDING,
        NodeState.HELD,
        NodeState.DISPATCHED,
        NodeState.RETRYING,
        NodeState.WAITING,
    }
)
_LAST_EVENT = {
    RunState.SUCCEEDED: EventType.RUN_SUCCEEDED,
    RunState.FAILED: EventType.RUN_FAILED,
    RunState.CANCELLED: EventType.RUN_CANCELLED,
}


@dataclass(slots=True)
class Step:
    """One atomic step on one run."""

    world: World
    run: KeptRun
    now: int
    ready: list[tuple[int, int]] = field(default_factory=list)
    """(node, attempt) pairs to publish."""
    bundles: list[Bundle] = field(default_factory=list)
    late: list[tuple[tuple[int, int] | Bundle, int]] = field(default_factory=list)
    """Dispatches nobody claimed, and how many times already."""
    grain: Grain | None = None
    """How to share out what becomes ready; None: everything is dispatched by itself."""
    spare: int = 0
    """Microseconds of work that the unit may still take."""
    idle: bool = True
    """Whether the unit has nothing to do, and so takes a node however long that is."""
    current: int | None = None
    """A node the unit is running: it stays."""
    kept: list[int] = field(default_factory=list)

    def event(
        self,
        kind: EventType,
        nodes: Iterable[int] = (),
        attempt: int | None = None,
        data: Mapping[str, Any] | None = None,
        *,
        ago: int = 0,
    ) -> None:
        """Append to the run's log; what happened ``ago`` ms before now, too."""
        run = self.run
        run.events.append(
            Event(
                id=len(run.events) + 1,
                type=kind,
                run=run.new.id,
                time=(self.now - ago) / 1000,
                nodes=tuple(run.plan.ids[node] for node in nodes),
                attempt=attempt,
                data=data or {},
            )
        )

    def schedule(self, what: int | str, delay: float) -> None:
        """Ask for a look at a node (or the deadline, or the retention) in ``delay`` ms."""
        self.world.agenda[self.run.new.id, str(what)] = self.now + round(delay)

    def unschedule(self, what: int | str) -> None:
        """Take an entry off the agenda."""
        self.world.agenda.pop((self.run.new.id, str(what)), None)

    def share_out(self, grain: Grain | None) -> None:
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
        run.units[unit] = KeptUnit(set(nodes), adopted=False)
        self.schedule(unit, self.world.dispatch_lease)
        self.bundles.append(Bundle(unit=unit, node=nodes[0], count=len(nodes)))

    def write_unit(self, unit: str, nodes: set[int], *, told: int | None = None) -> None:
        """Keep what a worker's unit owns; nothing is left of one without nodes."""
        if nodes:
            self.run.units[unit] = KeptUnit(nodes, adopted=True, told=told)
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

    def park(self, node: int, wait: Wait) -> None:
        """Let a node wait without a worker."""
        run = self.run
        run.nodes[node] = NodeState.WAITING
        self.event(EventType.NODE_WAITING, [node], run.attempts[node], wait.about())
        run.attempts[node] -= 1  # this attempt goes on later
        run.heard.pop(node, None)
        if wait.resumes:
            run.resumed.pop(node, None)
            run.waits[node] = wait.signal
            if wait.signal in run.signals:
                self.unpark(node, run.signals.pop(wait.signal))
                return
        if wait.until is not None:
            self.schedule(node, max(0, round(wait.until * 1000) - self.now))
        elif wait.seconds is not None:
            self.schedule(node, round(wait.seconds * 1000))
        else:
            self.unschedule(node)

    def unpark(self, node: int, what: bytes = b"") -> None:
        """End a wait: by a signal's value, or because the time is over."""
        run = self.run
        if node in run.waits:
            del run.waits[node]
            run.resumed[node] = what
        self.unschedule(node)
        self.dispatch([(node, run.attempts[node] + 1)])

    def release(self) -> None:
        """Give free slots to the nodes that were held, oldest first."""
        run = self.run
        while run.held and not run.is_paused and run.active < (run.plan.max_parallel or 0):
            node = run.held.popleft()
            self.dispatch([(node, run.attempts[node] + 1)])

    def abort(self) -> None:
        """Stop the run: what is not running never will; what is running is told on renewal."""
        run = self.run
        gone = [node for node, state in enumerate(run.nodes) if state in _QUEUED]
        for node in gone:
            if run.nodes[node] is NodeState.DISPATCHED:
                self.take_slots(-1)
            run.nodes[node] = NodeState.CANCELLED
            self.unschedule(node)
        run.left -= len(gone)
        if gone:
            self.event(EventType.NODES_CANCELLED, gone)
        for unit, kept in list(run.units.items()):
            if not kept.adopted:
                del run.units[unit]
                self.unschedule(unit)
        run.held.clear()
        self.ready.clear()
        self.bundles.clear()
        self.late.clear()
        if run.state is not RunState.STOPPING:
            run.state = RunState.STOPPING
            self.event(EventType.RUN_STOPPING)

    def advance(self, node: int, dead: Collection[int] = ()) -> None:
        """Count down every chord of a settled node."""
        self.arrive([(node, target, target not in dead) for target in self.run.plan.succ[node]])

    def arrive(
        self, edges: Iterable[tuple[int, int, bool]], *, frontier: Frontier | None = None
    ) -> None:
        """Count settled (source, target, live) edges; follow dead paths; share out the rest.

        With a frontier, what it says has arrived comes first.
        """
        run = self.run
        ready = [(node, run.attempts[node] + 1) for node in frontier.starts] if frontier else []
        skipped: list[int] = []
        full = self._reach(frontier) if frontier else []
        stack = [list(edges)]
        while stack or full:
            for source, target, live in stack.pop() if not full else ():
                if counts := self._count(target, run.nodes[source], live=live):
                    full.append((target, counts))
            for target, counts in full:
                if _RULES[run.plan.policy(target).join](*counts):
                    ready.append((target, run.attempts[target] + 1))
                    continue
                self._skip(target, failed=counts[1])
                skipped.append(target)
                stack.append([(target, after, True) for after in run.plan.succ[target]])
            full.clear()
        if skipped:
            self.event(EventType.NODES_SKIPPED, sorted(skipped))
        if run.cause is not None and run.plan.fail_fast:
            self.abort()
        else:
            self.place(ready)

    def _reach(self, frontier: Frontier) -> list[tuple[int, tuple[int, int]]]:
        """Take over what has arrived; the joins that wait for nothing more, with their totals."""
        full: list[tuple[int, tuple[int, int]]] = []
        for one in frontier.reached:
            if one.settled == len(self.run.plan.pred[one.node]):
                full.append((one.node, (one.succeeded, one.failed)))
            else:
                self.run.joins[one.node] = one.settled, one.succeeded, one.failed
        return full

    def _count(self, target: int, source: NodeState, *, live: bool) -> tuple[int, int] | None:
        """Count one predecessor of a join; the (succeeded, failed) totals if it was the last."""
        live = live and source is not NodeState.SKIPPED
        settled, ok, bad = self.run.joins.pop(target, (0, 0, 0))
        settled += 1
        ok += live and source is NodeState.SUCCEEDED
        bad += live and source is not NodeState.SUCCEEDED
        if settled == len(self.run.plan.pred[target]):
            return ok, bad
        self.run.joins[target] = settled, ok, bad
        return None

    def skip(self, node: int) -> None:
        """Record that a node's own condition does not hold, and follow the dead path."""
        self._skip(node, failed=0)
        self.event(EventType.NODES_SKIPPED, [node])
        self.advance(node)

    def _skip(self, node: int, *, failed: int) -> None:
        run = self.run
        run.nodes[node] = NodeState.SKIPPED
        run.left -= 1
        if failed and run.cause is None:
            # The failures were tolerated in the hope that another branch would succeed.
            lost = [p for p in run.plan.pred[node] if run.nodes[p] is NodeState.FAILED]
            run.cause = str(min(lost))

    def fail(
        self, node: int, failure: Failure, data: Mapping[str, Any], dead: Collection[int] = ()
    ) -> None:
        """Record that a node failed for good; then stop the run, or go on around it."""
        run = self.run
        run.nodes[node] = NodeState.FAILED
        run.failures[str(node)] = failure
        run.left -= 1
        self.event(EventType.NODE_FAILED, [node], run.attempts[node], data)
        if run.state is RunState.STOPPING:
            return
        if not self._tolerated(node, dead):
            run.cause = run.cause or str(node)
            if run.plan.fail_fast:
                self.abort()
                return
        self.advance(node, dead)

    def _tolerated(self, node: int, dead: Collection[int]) -> bool:
        """Whether the node has live successors and each of them accepts failures."""
        plan = self.run.plan
        live = [target for target in plan.succ[node] if target not in dead]
        return bool(live) and all(plan.policy(target).join in _ACCEPTS_FAILURE for target in live)

    def cancel(self, node: int) -> None:
        """Record that a running node ended because its run is stopping."""
        self.run.nodes[node] = NodeState.CANCELLED
        self.run.left -= 1
        self.event(EventType.NODES_CANCELLED, [node], self.run.attempts[node])

    def lose(self, node: int, failure: Failure, data: Mapping[str, Any]) -> None:
        """Take over from a worker that is gone, or give the node up after too many losses."""
        run = self.run
        attempt = run.attempts[node]
        run.lost[node] += 1
        self.take_slots(-1)
        self.unschedule(node)
        del run.late[node]
        self.event(EventType.NODE_LOST, [node], attempt)
        if run.state is RunState.STOPPING:
            self.cancel(node)
        elif run.lost[node] <= self.world.max_lost:
            self.dispatch([(node, attempt + 1)])
        else:
            self.world.dead[run.new.id, node] = self.now
            self.fail(node, failure, data)
        if run.accepts_work:
            self.release()

    def lose_unit(self, unit: str, failure: Failure, data: Mapping[str, Any]) -> None:
        """The worker of a unit is gone: each of its nodes has lost it."""
        nodes = self.run.units.pop(unit).nodes
        self.unschedule(unit)
        by_policy = sorted(nodes, key=lambda node: (self.run.plan.policy_of[node], node))
        for node in by_policy:
            if self.run.nodes[node] is NodeState.RUNNING:
                self.lose(node, failure, data)

    def finish(self) -> RunState | None:
        """End the run when every node has settled; the final state if this step ended it."""
        run, world = self.run, self.world
        if run.left or run.state.is_terminal:
            return None
        run.state = _final(run)
        run.finished = self.now
        self.event(_LAST_EVENT[run.state])
        self.unschedule(DEADLINE)
        run.units.clear()
        self.schedule(RETENTION, world.retention)
        digest = run.plan.hash
        world.plan_users[digest] -= 1
        if not world.plan_users[digest]:
            del world.plan_users[digest]
            world.plan_expiry[digest] = self.now + world.retention + PLAN_GRACE
        return run.state

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


def _final(run: KeptRun) -> RunState:
    if run.stop is not None:
        return RunState.CANCELLED
    return RunState.SUCCEEDED if run.cause is None else RunState.FAILED
