"""Moving a run: what every write does, as plain Python.

In: one command on one run. Out: the run moved, its events appended, what to publish. This is
``web.lua`` of the Redis store said a second time, rule for rule; change both or neither.
Not here: who may call what (store), what is overdue (sweep).
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flowcore.plan.reuse import ResumePoint
from flowcore.ports.store import Suspension
from flowcore.run.event import EventType
from flowcore.run.record import Failure
from flowcore.run.status import NodeState, RunState
from flowcore.stores.inmemory.runs.dispatch import Dispatching
from flowcore.stores.inmemory.runs.run import (
    DEADLINE,
    FINISH,
    GIVE_UP,
    GO_ON,
    PLAN_GRACE,
    RETENTION,
    StoredRun,
)

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
class Step(Dispatching):
    """One atomic step on one run."""

    def park(self, node: int, wait: Suspension) -> None:
        """Let a node wait without a worker."""
        run = self.run
        run.nodes[node] = NodeState.WAITING
        run.turns[node] += 1
        self.event(EventType.NODE_WAITING, [node], run.attempts[node], wait.about())
        run.attempts[node] -= 1  # this attempt goes on later
        run.heard.pop(node, None)
        if wait.resumes and self._came(node, wait):
            return
        if wait.until is not None:
            self.schedule(node, max(0, round(wait.until * 1000) - self.now))
        elif wait.seconds is not None:
            self.schedule(node, round(wait.seconds * 1000))
        else:
            self.unschedule(node)

    def _came(self, node: int, wait: Suspension) -> bool:
        """Note what a node waits for; say whether that has come already, which ends its wait."""
        run = self.run
        run.resumed.pop(node, None)
        run.waits[node] = wait.signal
        if wait.child is not None:
            run.awaited[node] = wait.child
        if run.keeps_slot(node):
            self.take_slots(1)
        if wait.child is not None:
            # It, or another one of this node, may have ended before this came to wait.
            told = node in run.told
            run.told.discard(node)
            if told or wait.child not in run.open_children:
                self.unpark(node)
                return True
        came = None if wait.signal is None else self._kept_signal(node, wait.signal)
        if came is not None:
            self.unpark(node, came)
        return came is not None

    def unpark(self, node: int, what: bytes = b"") -> None:
        """End a wait: by a signal's value, or because the time is over."""
        run = self.run
        if node in run.waits:
            if run.keeps_slot(node):
                self.take_slots(-1)
            del run.waits[node]
            run.resumed[node] = run.awaited.pop(node, "").encode() or what
        self.unschedule(node)
        if run.state is RunState.STOPPING:
            run.attempts[node] += 1
            self.cancel(node)
        else:
            self.dispatch([(node, run.attempts[node] + 1)])

    def _kept_signal(self, node: int, name: str) -> bytes | None:
        """Return what was kept for a node: its answer, or the first signal, of any outer run."""
        run: StoredRun | None = self.run
        if node in self.run.answers:
            return self.run.answers.pop(node)
        while run is not None:
            if kept := run.signals.get(name):
                came = kept.popleft()
                if not kept:
                    del run.signals[name]
                return came
            run = self.world.runs.get(run.parent.run) if run.parent else None
        return None

    def abort(self) -> None:
        """Stop the run: what is not running never will; what is running is told on renewal."""
        run = self.run
        waits = None if run.closing else run.plan.epilogue
        gone = [
            node
            for node, state in enumerate(run.nodes)
            if state in _QUEUED and node != waits and not run.waits_inside(node)
        ]
        for node in gone:
            state = run.nodes[node]
            waiting = state is NodeState.WAITING and run.keeps_slot(node)
            if waiting or state is NodeState.DISPATCHED:
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
        self.stop_children()
        if run.state is not RunState.STOPPING:
            run.state = RunState.STOPPING
            self.event(EventType.RUN_STOPPING)

    def stop_children(self, node: int | None = None) -> None:
        """Have the runs stopped that a node has started, or all nodes have."""
        for child in self.run.open_children:
            if node is None or self.run.children[child] == node:
                self.world.agenda[child, GIVE_UP] = self.now

    def let_go(self) -> None:
        """Let the run go on if it is paused, and those inside it."""
        if self.run.is_paused:
            self._unpause()
        self.release_children()

    def release_children(self) -> None:
        """Have the runs go on that nodes have started, should they be paused."""
        for child in self.run.open_children:
            self.world.agenda[child, GO_ON] = self.now

    def _unpause(self) -> None:
        run = self.run
        run.state = RunState.PENDING if run.started is None else RunState.RUNNING
        self.event(EventType.RUN_RESUMED)
        if run.plan.max_parallel:
            self.release()
            return
        held = [node for node in run.held if run.nodes[node] is NodeState.HELD]
        run.held.clear()
        self.dispatch([(node, run.attempts[node] + 1) for node in held])

    def _tell_parent(self) -> None:
        """Give the node its turn that has started this run."""
        parent = self.run.parent
        over = self.world.runs.get(parent.run) if parent else None
        if parent is None or over is None or self.run.new.id not in over.children:
            return
        was_open = self.run.new.id in over.open_children
        over.open_children.discard(self.run.new.id)
        if over.nodes[parent.node] is NodeState.WAITING:
            self.world.agenda[parent.run, str(parent.node)] = self.now
            self.told = parent
        elif over.nodes[parent.node] is NodeState.RUNNING:
            over.told.add(parent.node)
        elif was_open and over.nodes[parent.node].is_terminal:
            # That run may have waited for nothing else.
            self.world.agenda[parent.run, FINISH] = self.now
            self.told = parent

    def advance(self, node: int, dead: Collection[int] = ()) -> None:
        """Count down every chord of a settled node."""
        self.arrive([(node, target, target not in dead) for target in self.run.plan.succ[node]])

    def arrive(
        self, edges: Iterable[tuple[int, int, bool]], *, frontier: ResumePoint | None = None
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
                join = run.plan.policy(target).join
                if _RULES[join](*counts):
                    ready.append((target, run.attempts[target] + 1))
                    continue
                self._skip(target, failed=counts[1] if join == "any_success" else 0)
                skipped.append(target)
                stack.append([(target, after, True) for after in run.plan.succ[target]])
            full.clear()
        if skipped:
            self.event(EventType.NODES_SKIPPED, sorted(skipped))
        if self.marked and run.plan.fail_fast:
            self.abort()
        else:
            self.place(ready)

    def _reach(self, frontier: ResumePoint) -> list[tuple[int, tuple[int, int]]]:
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
            run.cause, self.marked = str(min(lost)), True

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
        if run.spared and not run.closing:
            run.spared -= 1
        elif not self._tolerated(node, dead):
            self.marked = run.cause is None
            run.cause = run.cause or str(node)
            if run.plan.fail_fast:
                self.abort()
                return
        self.advance(node, dead)

    def _tolerated(self, node: int, dead: Collection[int]) -> bool:
        """Return whether the node has live successors and each of them accepts failures."""
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
        # An attempt that had failed has not begun again: what comes of it is to be decided all the
        # same.
        failed = node in run.deferred
        counts = run.undecided if failed else run.lost
        counts[node] += 1
        self.take_slots(-1)
        self.unschedule(node)
        del run.late[node]
        self.event(EventType.NODE_LOST, [node], attempt)
        if run.state is RunState.STOPPING:
            self.cancel(node)
        elif counts[node] <= self.world.max_lost:
            if failed:
                run.turns[node] += 1
                run.attempts[node] -= 1
            self.dispatch([(node, run.attempts[node] + 1)])
        else:
            self.world.dead[run.new.id, node] = self.now
            self.stop_children(node)
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

    def _conclude(self, node: int) -> None:
        """All nodes have settled but the epilogue: it is its turn, if there is something to do."""
        run = self.run
        if run.plan.epilogue_condition == "f" and run.cause is None and run.stop is None:
            run.nodes[node] = NodeState.SKIPPED
            run.left = 0
            self.event(EventType.NODES_SKIPPED, [node])
            return
        run.closing = True
        if run.state is RunState.STOPPING:
            run.state = RunState.PENDING if run.started is None else RunState.RUNNING
        run.nodes[node] = NodeState.WAITING
        self.schedule(node, 0)

    def finish(self) -> RunState | None:
        """End the run when every node, and every run that they have started, has ended.

        Returns:
            The final state, if this step ended it.
        """
        run, world = self.run, self.world
        epilogue, is_last = run.plan.epilogue, run.left == 1 and not run.open_children
        if epilogue is not None and is_last and not run.closing:
            self._conclude(epilogue)
        if run.left or run.state.is_terminal or run.open_children:
            return None
        run.state = _final(run)
        run.finished = self.tick
        self.event(_LAST_EVENT[run.state])
        for what in (DEADLINE, FINISH, GO_ON):
            self.unschedule(what)
        run.units.clear()
        self.schedule(RETENTION, world.retention)
        self.unschedule(GIVE_UP)
        self._tell_parent()
        digest = run.plan.hash
        world.plan_users[digest] -= 1
        if not world.plan_users[digest]:
            del world.plan_users[digest]
            world.plan_expiry[digest] = self.now + world.retention + PLAN_GRACE
        return run.state


def _final(run: StoredRun) -> RunState:
    if run.stop is not None:
        return RunState.CANCELLED
    return RunState.SUCCEEDED if run.cause is None else RunState.FAILED
