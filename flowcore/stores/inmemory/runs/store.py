"""The run store in memory: ``RunStore``, ``RunReader`` and ``EventLog`` in one object.

In: the engine's commands. Out: the same answers as the Redis store gives, in one process. It is
shipped for tests, where the clock may be moved by hand. Not here: the moves (step).
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from flowcore.plan.plan import Plan
from flowcore.ports.leases import DISPATCH_LEASE, LEASE, MAX_LOST, RETENTION
from flowcore.ports.store import (
    KEPT_SIGNALS,
    AppendResult,
    AttemptRef,
    Claim,
    NewRun,
    Outcome,
    Resumed,
    SubmitResult,
    SweepResult,
    Transition,
)
from flowcore.ports.unit import AHEAD, Granularity, UnitClaim, UnitProgress, UnitRef
from flowcore.run.event import Event, EventType
from flowcore.run.node_event import Note
from flowcore.run.record import WORKER_LOST, Parent
from flowcore.run.status import NodeState, RunState
from flowcore.stores.inmemory.runs import settle as settling
from flowcore.stores.inmemory.runs.control import adopt, begin, frontier_of, pause, resume, signal
from flowcore.stores.inmemory.runs.flush import flush
from flowcore.stores.inmemory.runs.lose import lose_begun
from flowcore.stores.inmemory.runs.reader import InMemoryReader
from flowcore.stores.inmemory.runs.run import FINISH, StoreData, StoredRun
from flowcore.stores.inmemory.runs.step import Step
from flowcore.stores.inmemory.runs.sweep import sweep

__all__ = ["InMemoryStore"]

_PAGE = 1000
_NIL = b"\xc0"


class InMemoryStore(InMemoryReader):
    """Keeps runs in this process; safe to share between threads.

    Args:
        clock: Unix seconds; a test gives its own and moves it.
        lease: Seconds without renewal after which a running node is taken over.
        dispatch: Seconds without a claim after which a dispatched node is published again.
        retention: Seconds for which a finished run is kept.
        max_lost: A node that has lost its worker more often is failed.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        lease: float = LEASE,
        dispatch: float = DISPATCH_LEASE,
        retention: float = RETENTION,
        max_lost: int = MAX_LOST,
    ) -> None:
        self._clock = clock
        world = StoreData(
            lease=settling.milliseconds(lease),
            dispatch_lease=settling.milliseconds(dispatch),
            retention=settling.milliseconds(retention),
            max_lost=max_lost,
        )
        super().__init__(world, threading.Condition())

    # ── RunStore ────────────────────────────────────────────────────────────────────────────────

    def put_plan(self, plan: Plan) -> None:
        """Keep a plan under its hash."""
        with self._changed:
            self._world.forget_plans(self._now())
            self._world.plans.setdefault(plan.hash, plan)

    def get_plan(self, digest: str) -> Plan:
        """Return the plan; ``KeyError`` when there is none of this hash."""
        with self._changed:
            self._world.forget_plans(self._now())
            return self._world.plans[digest]

    def submit(self, run: NewRun, plan: Plan, *, grain: Granularity | None = None) -> SubmitResult:
        """Create the run once per id, and record the intent to dispatch its starts."""
        with self._changed:
            world, now = self._world, self._now()
            if there := world.runs.get(run.id):
                return SubmitResult(created=False, state=there.state)
            origin = run.origin
            frontier = frontier_of(world, origin, plan) if origin and origin.node else None
            world.forget_plans(now)
            kept = StoredRun(
                new=run,
                plan=plan,
                created=now,
                nodes=[NodeState.PENDING] * len(plan),
                left=len(plan),
                spared=plan.spared,
            )
            over = adopt(world, kept, run.parent) if run.parent else None
            world.use_plan(plan)
            world.runs[run.id] = kept
            step = Step(world, kept, now)
            step.event(EventType.RUN_CREATED)
            if over is not None and over.is_paused:
                pause(step)
            step.share_out(grain)
            step.spare, step.idle = -1, False  # a client keeps nothing
            begin(step, frontier)
            step.finish()
            self._changed.notify_all()
            return SubmitResult(created=True, state=kept.state, dispatch=step.announce())

    def claim(
        self, ticket: AttemptRef, *, worker: str, outputs_of: Sequence[int] = ()
    ) -> Claim | None:
        """Take a dispatched node, if this very attempt of it was dispatched."""
        with self._changed:
            run, node = self._world.runs.get(ticket.run), ticket.node
            if run is None or not settling.claimable(run, ticket):
                return None
            step = Step(self._world, run, self._now())
            run.nodes[node] = NodeState.RUNNING
            run.attempts[node] = ticket.attempt
            step.schedule(node, self._world.lease)
            first = settling.start(step)
            failure = run.deferred.get(node)
            if failure is None:  # else it began long ago
                step.event(EventType.NODE_STARTED, [node], ticket.attempt, {"worker": worker})
            self._changed.notify_all()
            return Claim(
                ticket=replace(ticket, turn=run.turns[node]),
                first=first,
                lost=run.lost[node],
                before=run.base[node],
                outputs={n: run.outputs[n] for n in outputs_of if n in run.outputs},
                resumed=run.resumed.get(node),
                failure=failure,
            )

    def adopt(self, unit: UnitRef, *, worker: str) -> UnitClaim | None:  # noqa: ARG002
        """Take a bundle, if nobody has."""
        with self._changed:
            run = self._world.runs.get(unit.run)
            kept = run.units.get(unit.unit) if run and run.accepts_work else None
            if run is None or kept is None or kept.adopted:
                return None
            step = Step(self._world, run, self._now())
            step.write_unit(unit.unit, kept.nodes)
            for node in kept.nodes:
                run.nodes[node] = NodeState.RUNNING
                run.attempts[node] = 1
            first = settling.start(step)
            self._changed.notify_all()
            return UnitClaim(nodes=tuple(sorted(kept.nodes)), first=first, resumed=run.repeats)

    def settle(
        self,
        ticket: AttemptRef,
        outcome: Outcome,
        *,
        unit: str | None = None,
        grain: Granularity | None = None,
    ) -> Transition:
        """Record how an attempt ended, in one step with all that follows from it."""
        with self._changed:
            run = self._world.runs.get(ticket.run)
            if run is None or not run.hears(ticket):
                return Transition(accepted=False)
            owned: frozenset[int] | None = None
            if unit is not None:
                owned = settling.owned_beside(run, unit, ticket.node)
                if owned is None:
                    return Transition(accepted=False)
            step = Step(self._world, run, self._now())
            run.last = step.tick
            if outcome.kind == "lost":
                settling.settle(step, ticket, outcome)
                return self._advanced(step)
            step.share_out(grain)
            step.idle = not owned
            settling.settle(step, ticket, outcome)
            if run.accepts_work:
                step.release()
            if unit is None and step.kept:
                unit = f"u{ticket.node}a{ticket.attempt}"
            if unit is not None:
                step.write_unit(unit, {*(owned or ()), *step.kept})
            return self._advanced(step, unit)

    def flush(
        self, unit: UnitRef, news: UnitProgress, plan: Plan, *, worker: str, grain: Granularity
    ) -> Transition:
        """Record what a unit has done."""
        with self._changed:
            run = self._world.runs.get(unit.run)
            kept = run.units.get(unit.unit) if run else None
            if run is None or kept is None or not kept.adopted:
                return Transition(accepted=False)
            step = Step(self._world, run, self._now())
            if not flush(step, unit.unit, kept.nodes, news, plan, worker=worker, grain=grain):
                return Transition(accepted=False)
            advance = self._advanced(step, unit.unit)
            if news.ahead is None:
                return advance
            states = run.nodes[news.ahead : news.ahead + AHEAD]
            return replace(advance, ahead="".join(state.letter for state in states))

    def renew(self, tickets: Sequence[AttemptRef | UnitRef]) -> Mapping[AttemptRef | UnitRef, bool]:
        """Prolong leases; answers for those to stop whether the lease is lost."""
        verdicts: dict[AttemptRef | UnitRef, bool] = {}
        with self._changed:
            now = self._now()
            for ticket in tickets:
                run = self._world.runs.get(ticket.run)
                if run is None or not run.has(ticket):
                    verdicts[ticket] = True
                    continue
                what = ticket.unit if isinstance(ticket, UnitRef) else ticket.node
                Step(self._world, run, now).schedule(what, self._world.lease)
                if run.state is RunState.STOPPING:
                    verdicts[ticket] = False
        return verdicts

    def wake(self, ticket: AttemptRef) -> Transition:
        """Give a waiting node its turn."""
        with self._changed:
            run = self._world.runs.get(ticket.run)
            if run is None:
                return Transition(accepted=False)
            step = Step(self._world, run, self._now())
            if run.nodes[ticket.node].is_terminal:
                step.unschedule(FINISH)
            elif run.waits_as(ticket):
                step.unpark(ticket.node)
            else:
                return Transition(accepted=False)
            return self._advanced(step)

    def signal(
        self,
        run: str,
        name: str,
        value: bytes,
        *,
        most: int = KEPT_SIGNALS,
        node: int | None = None,
    ) -> Transition | None:
        """Give a signal to those who wait for it, or keep it."""
        with self._changed:
            kept = self._world.runs.get(run)
            if kept is None or kept.state.is_terminal:
                return Transition(accepted=False) if kept else None
            step = Step(self._world, kept, self._now())
            given = signal(step, name, value, most=most, node=node)
            if isinstance(given, Transition):
                return given
            return replace(self._advanced(step), inside=given)

    def lose(
        self, unit: UnitRef, *, begun: Collection[int] | None = None, worker: str = ""
    ) -> Transition:
        """Let others have the nodes of a unit whose process is dead."""
        with self._changed:
            run = self._world.runs.get(unit.run)
            if run is None or not run.has(unit):
                return Transition(accepted=False)
            step = Step(self._world, run, self._now())
            data = {"error": WORKER_LOST.as_dict()}
            if begun is None:
                step.lose_unit(unit.unit, WORKER_LOST, data)
            else:
                lose_begun(step, unit.unit, begun, worker)
            return self._advanced(step)

    def _advanced(self, step: Step, unit: str | None = None) -> Transition:
        """Close a step and say what it set in motion."""
        run = step.run
        kept = run.units.get(unit) if unit else None
        finished = step.finish()
        self._changed.notify_all()
        return Transition(
            accepted=True,
            finished=finished,
            dispatch=step.announce(),
            unit=unit,
            kept=tuple(sorted(kept.nodes)) if kept else (),
            parent=step.told,
            stopping=run.state is RunState.STOPPING,
            paused=run.is_paused,
            resumed=run.repeats,
        )

    def sweep(self, *, limit: int = 200) -> SweepResult:
        """Deal with what is overdue."""
        with self._changed:
            found = sweep(self._world, now=self._now(), limit=limit)
            self._changed.notify_all()
            return found

    def stop(self, run: str, *, reason: str) -> RunState | None:
        """Cancel a run."""
        with self._changed:
            kept = self._world.runs.get(run)
            if kept is None or kept.state.is_terminal or kept.closing:
                return kept.state if kept else None
            if kept.stop is None:
                kept.stop = reason
            step = Step(self._world, kept, self._now())
            step.abort()
            step.finish()
            self._changed.notify_all()
            return kept.state

    def pause(self, run: str, *, inside: bool = False) -> RunState | None:
        """Hold a run."""
        with self._changed:
            kept = self._world.runs.get(run)
            if kept is None or not kept.accepts_work:
                return kept.state if kept else None
            over = self._world.runs.get(kept.parent.run) if inside and kept.parent else None
            if over is not None and not over.is_paused:
                return kept.state
            step = Step(self._world, kept, self._now())
            pause(step)
            step.finish()
            self._changed.notify_all()
            return kept.state

    def resume(
        self, run: str, *, grain: Granularity | None = None, parent: Parent | None = None
    ) -> Resumed | None:
        """Let a run go on."""
        with self._changed:
            kept = self._world.runs.get(run)
            if kept is None:
                return None
            step = Step(self._world, kept, self._now())
            if not resume(step, grain, parent):
                return Resumed(resumed=False, state=kept.state)
            step.finish()
            self._changed.notify_all()
            return Resumed(resumed=True, state=kept.state, dispatch=step.announce())

    # ── EventLog ────────────────────────────────────────────────────────────────────────────────

    def append(self, ticket: AttemptRef, notes: Sequence[Note], *, number: int) -> AppendResult:
        """Add what a node has said, if its attempt is still the valid one."""
        with self._changed:
            run = self._world.runs.get(ticket.run)
            if run is None or not run.hears(ticket):
                return AppendResult.STALE
            step = Step(self._world, run, self._now())
            heard = settling.say(step, ticket, notes, number)
            self._changed.notify_all()
            return heard

    def read(self, run: str, *, after: int = 0, block: float | None = None) -> Sequence[Event]:
        """Return events above ``after``, at most a thousand at a time.

        Waiting is real time, whatever the store's clock says.
        """
        with self._changed:
            if block is not None:
                self._changed.wait_for(lambda: bool(self._events(run, after)), timeout=block)
            return self._events(run, after)

    def last(self, run: str) -> int:
        """Return the id of the latest event."""
        with self._changed:
            kept = self._world.runs.get(run)
            return kept.events[-1].id if kept and kept.events else 0

    def wait(self, run: str, *, timeout: float) -> bool:
        """Wait for the end of a run, in real time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended(run), timeout=timeout)

    def _ended(self, run: str) -> bool:
        kept = self._world.runs.get(run)
        return kept is not None and kept.state.is_terminal

    def _events(self, run: str, after: int) -> list[Event]:
        kept = self._world.runs.get(run)
        return [] if kept is None else kept.events[after : after + _PAGE]

    def _now(self) -> int:
        return int(self._clock() * 1000)
