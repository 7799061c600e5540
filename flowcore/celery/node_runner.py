"""A worker process as a host of nodes: what the Celery task and the chord hook call.

In: the task's few arguments. Out: attempts run, outcomes recorded, successors published.
One per process; Celery's prefork children make their own after the fork.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowcore.celery.capacity import Slots
from flowcore.celery.monitoring.unit_events import UnitTaskEvents
from flowcore.celery.run_events import _CANCELLED, show_end
from flowcore.celery.services import Services
from flowcore.engine.attempts.attempt import AttemptResult
from flowcore.engine.attempts.heartbeat import Heartbeater
from flowcore.engine.attempts.upstream import Upstream
from flowcore.engine.attempts.work_table import WorkRecord
from flowcore.engine.child_runs.structured import StructuredNodes
from flowcore.engine.runs.children import EngineChildren
from flowcore.engine.runs.granularity import DurationEstimates
from flowcore.engine.values.event_limits import Limits
from flowcore.engine.values.store_writes import complete
from flowcore.engine.worker.executor import Executor
from flowcore.engine.worker.ports import ExecutorPorts
from flowcore.engine.worker.unit import Unit, UnitHost, UnitWatch, unit_of
from flowcore.errors import FlowcoreError
from flowcore.plan.plan import Plan
from flowcore.ports.store import AttemptRef, Outcome, Transition
from flowcore.ports.unit import UnitRef
from flowcore.run.record import WORKER_LOST

__all__ = ["HostOptions", "NodeHost"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """Limits of a worker process."""

    stalled: float = 15.0
    """Seconds after which a worker that receives nothing, though messages wait, ends itself."""
    heartbeat: float = 1.5
    """Seconds between renewals of leases."""
    limits: Limits
    """Bounds of the events that nodes add to the log of their run."""
    work_first: bool = True
    """Whether a worker goes on with a node that it made ready."""
    engines: Callable[[], Mapping[str, str]] = dict
    """Tells which backends this installation could run, with versions."""


class NodeHost:
    """Runs nodes in this process."""

    def __init__(
        self, services: Services, options: HostOptions, record: WorkRecord | None = None
    ) -> None:
        """Wire the engine to the ports; ``record`` is what the parent of this process watches."""
        self.services = services
        self._work_first = options.work_first
        self._slots = Slots(services.board)
        self._keeper = Heartbeater(services.store, interval=options.heartbeat, record=record)
        self._executor = Executor(
            ExecutorPorts(
                limits=options.limits,
                store=services.store,
                reader=services.reader,
                events=services.events,
                shared=services.shared,
                payloads=services.payloads,
                memory=services.memory,
                sender=services.tasks,
                secrets=services.secrets,
                digest=services.keys.digest,
                spawner=StructuredNodes(services.reader, services.payloads, self._children()),
            ),
            keeper=self._keeper,
            on_stuck=self._settle,
            on_first=self._show_start,
            on_wake=self._wake,
        )
        self._watch = UnitWatch()
        self.units = UnitHost(
            store=services.store,
            executor=self._executor,
            estimates=DurationEstimates(),
            record=self.write,
            slots=self._slots.count,
            watched=record,
        )
        self.ended: dict[int, Exception] = {}
        """By child that the watchdog of this process has ended: what Celery is to be told."""

    def _children(self) -> EngineChildren:
        services = self.services
        slots = self._slots.count if self._work_first else None
        return EngineChildren(
            store=services.store,
            reader=services.reader,
            dispatcher=services.dispatcher,
            payloads=services.payloads,
            slots=slots,
        )

    def run(self, ticket: AttemptRef, plan_hash: str, *, worker: str) -> AttemptResult | None:
        """Run one attempt; its end is recorded by ``record``."""
        plan = self.services.store.get_plan(plan_hash)
        return self._executor.run(ticket, plan, worker=worker)

    def run_inline(
        self, plan: Plan, node: int, *, upstream: Upstream, run: str, attempt: int
    ) -> Any:
        """Run one node of a plan that a Celery canvas drives; nothing is recorded."""
        return self._executor.run_inline(plan, node, upstream=upstream, run=run, attempt=attempt)

    def record(self, attempt: AttemptResult, *, worker: str) -> Transition:
        """Write down how an attempt ended and publish what became ready."""
        return self._settle(attempt.ticket, attempt.plan, attempt.outcome, worker)

    def record_and_go_on(self, attempt: AttemptResult, *, worker: str, queue: str) -> None:
        """Record an attempt, then run what it made ready here, one after the other.

        Args:
            attempt: The attempt that a message carried.
            worker: This worker's name.
            queue: The broker's queue the message came on.
        """
        plan, ticket, units = attempt.plan, attempt.ticket, self.units
        policy = plan.policy(ticket.node)
        if not self._work_first or policy.alone:
            self.record(attempt, worker=worker)
            return
        units.estimates.note(policy.uses, attempt.seconds)
        grain = units.estimates.grain(plan, queue=policy.queue, slots=units.slots())
        store = self.services.store
        advance = self.write(
            lambda: store.settle(ticket, attempt.outcome, grain=grain), plan, ticket.run, worker
        )
        if advance.unit is None or not advance.kept:
            return
        output = attempt.outcome.output
        if output is not None:
            attempt.upstream.put_packed(ticket.node, output)
        unit = self._unit(
            UnitRef(run=ticket.run, unit=advance.unit),
            plan,
            advance.kept,
            attempt.upstream,
            worker=worker,
        )
        unit.resumed = advance.resumed
        self._run_unit(unit, advance.kept, queue=queue)

    def run_unit(self, unit: UnitRef, plan_hash: str, *, worker: str, queue: str) -> bool:
        """Run the nodes of a bundle; False when somebody else has it.

        Args:
            unit: Its name.
            plan_hash: Its plan.
            worker: This worker's name.
            queue: The broker's queue the message came on.
        """
        plan = self.services.store.get_plan(plan_hash)
        adopted = self.services.store.adopt(unit, worker=worker)
        if adopted is None:
            return False
        if adopted.first:
            self._show_start(unit.run, plan, worker)
        upstream = Upstream(
            run=unit.run,
            plan=plan,
            reader=self.services.reader,
            payloads=self.services.payloads,
        )
        made = self._unit(unit, plan, adopted.nodes, upstream, worker=worker)
        made.resumed = adopted.resumed
        self._run_unit(made, adopted.nodes, queue=queue)
        return True

    def _unit(
        self,
        ticket: UnitRef,
        plan: Plan,
        nodes: Sequence[int],
        upstream: Upstream,
        *,
        worker: str,
    ) -> Unit:
        return Unit(
            host=self.units,
            ticket=ticket,
            plan=plan,
            queue=plan.policy(nodes[0]).queue,
            worker=worker,
            upstream=upstream,
        )

    def _run_unit(self, unit: Unit, nodes: Sequence[int], *, queue: str) -> None:
        ticket = unit.ticket
        rows = UnitTaskEvents(
            self.services.rows, ticket.run, unit.plan, worker=unit.worker, queue=queue
        )
        unit.ran = rows.add if rows.wanted() else None
        if self._keeper.record is None:  # else the parent of this process ends it
            unit.stopper.on_stuck = lambda _: self.lose_unit(
                ticket, unit.plan.hash, worker=unit.worker
            )
        self._keeper.hold(ticket, unit.stopper, plan=unit.plan.hash)
        try:
            with self._watch.over(unit):
                unit.run(nodes)
        except FlowcoreError as error:
            # The nodes are safe: what was not recorded is run again when its lease is over.
            _log.warning("a unit of run %s ended early: %s", ticket.run, error)
        finally:
            self._keeper.drop(ticket)
            rows.send()

    def stuck(self) -> int:
        """Count the nodes of this process that were given up, and keep their slots."""
        return self._keeper.stuck()

    def show_cancelled(self, ticket: AttemptRef, plan_hash: str, *, worker: str) -> bool:
        """Bring the row of a node to an end if its run was stopped; say whether it was."""
        services = self.services
        if services.reader.states(ticket.run, [ticket.node]).get(ticket.node) is not _CANCELLED:
            return False
        plan = services.store.get_plan(plan_hash)
        nodes = [plan.ids[ticket.node]]
        services.rows.revoked(run=ticket.run, flow=plan.flow, nodes=nodes, hostname=worker)
        return True

    def revoke(self, ticket: AttemptRef, plan_hash: str, *, worker: str, killed: bool) -> None:
        """Somebody revoked a node with Celery or Flower: its run cannot go on.

        Args:
            ticket: The attempt that was revoked.
            plan_hash: Its plan.
            worker: The worker that refused or killed it.
            killed: Whether it was running.
        """
        services = self.services
        plan = services.store.get_plan(plan_hash)
        name = plan.ids[ticket.node]
        state = services.store.stop(ticket.run, reason=f"node {name!r} was revoked")
        if killed:
            self.lose(ticket, plan_hash, worker=worker)
        elif state is not None and state.is_terminal:
            show_end(services, ticket.run, worker=worker)

    def lose(
        self,
        ticket: AttemptRef,
        plan_hash: str,
        *,
        worker: str,
        begun: Collection[int] | None = None,
    ) -> None:
        """The process that ran the attempt is dead: let another one have its nodes at once."""
        plan = self.services.store.get_plan(plan_hash)
        self._settle(ticket, plan, Outcome(kind="lost", failure=WORKER_LOST), worker)
        self.lose_unit(unit_of(ticket), plan_hash, worker=worker, begun=begun)

    def lose_unit(
        self, unit: UnitRef, plan_hash: str, *, worker: str, begun: Collection[int] | None = None
    ) -> None:
        """The same for a unit; of what it had ``begun``, see ``RunStore.lose``."""
        store = self.services.store
        plan = store.get_plan(plan_hash)
        self.write(lambda: store.lose(unit, begun=begun, worker=worker), plan, unit.run, worker)

    def _settle(self, ticket: AttemptRef, plan: Plan, outcome: Outcome, worker: str) -> Transition:
        store = self.services.store
        return self.write(lambda: store.settle(ticket, outcome), plan, ticket.run, worker)

    def write(
        self, write: Callable[[], Transition], plan: Plan, run: str, worker: str
    ) -> Transition:
        """Make a write of a run and a worker, and publish what it has set in motion."""
        advance = complete(write, self.services.dispatcher, plan)
        if advance.finished is not None:
            show_end(self.services, run, worker=worker, state=advance.finished)
        if advance.parent is not None:
            over = advance.parent
            self._wake(
                AttemptRef(run=over.run, node=over.node, attempt=over.attempt), worker=worker
            )
        return advance

    def _wake(self, ticket: AttemptRef, *, worker: str = "") -> None:
        """Give a node its turn that waits no more; should this fail, it gets it later.

        A run that is being stopped may have waited for it alone, and ends with that.
        """
        services = self.services
        try:
            summary = services.reader.summary(ticket.run)
            if summary is not None:
                plan = services.store.get_plan(summary.plan)
                self.write(lambda: services.store.wake(ticket), plan, ticket.run, worker)
        except FlowcoreError as error:
            _log.warning("node %d of run %s was not woken: %s", ticket.node, ticket.run, error)

    def _show_start(self, run: str, plan: Plan, worker: str) -> None:
        if "/" in run:
            return  # part of another run, which has a row
        self.services.rows.started(run=run, flow=plan.flow, hostname=worker)
