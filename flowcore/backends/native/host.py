"""A worker process as a host of nodes: what the Celery task and the chord hook call.

In: the task's few arguments. Out: attempts run, outcomes recorded, successors published.
One per process; Celery's prefork children make their own after the fork.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flowcore.backends.native.flower import RunRow
from flowcore.backends.native.inline import InlineRows
from flowcore.backends.native.publish import CeleryDispatcher
from flowcore.engine.complete import complete
from flowcore.engine.execute import Attempt, Executor
from flowcore.engine.leases import LeaseKeeper
from flowcore.engine.payloads import Payloads
from flowcore.engine.unit import Unit
from flowcore.engine.upstream import Upstream
from flowcore.errors import FlowcoreError, StoreUnreachableError
from flowcore.plan.plan import Plan
from flowcore.ports.presence import WorkerBoard
from flowcore.ports.store import Advance, EventLog, Outcome, RunReader, RunStore, Ticket
from flowcore.run.record import WORKER_LOST
from flowcore.run.status import NodeState, RunState

__all__ = ["HostOptions", "NodeHost", "Services", "show_end"]

_log = logging.getLogger(__name__)

_RECORD_TRIES = 6
_CANCELLED = NodeState.CANCELLED


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The ports a worker process uses."""

    store: RunStore
    reader: RunReader
    events: EventLog
    dispatcher: CeleryDispatcher
    rows: RunRow
    board: WorkerBoard
    payloads: Payloads


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """Limits of a worker process."""

    heartbeat: float = 1.5
    """Seconds between renewals of leases."""
    allowed: frozenset[str] = frozenset()
    """Module prefixes nodes may come from, beyond the default."""
    work_first: bool = True
    """Whether a worker goes on with a node that it made ready."""


class NodeHost:
    """Runs nodes in this process."""

    def __init__(self, services: Services, options: HostOptions) -> None:
        """Wire the engine to the ports."""
        self.services = services
        self._work_first = options.work_first
        keeper = LeaseKeeper(services.store, interval=options.heartbeat)
        self._executor = Executor(
            store=services.store,
            reader=services.reader,
            events=services.events,
            keeper=keeper,
            payloads=services.payloads,
            allowed=options.allowed,
            on_stuck=self._record,
            on_first=lambda ticket, plan, worker: services.rows.started(
                run=ticket.run, flow=plan.flow, hostname=worker
            ),
        )

    def run(self, ticket: Ticket, plan_hash: str, *, worker: str) -> Attempt | None:
        """Run one attempt; its end is recorded by ``record``."""
        plan = self.services.store.get_plan(plan_hash)
        return self._executor.run(ticket, plan, worker=worker)

    def run_inline(self, plan: Plan, node: int, *, upstream: Upstream) -> Any:
        """Run one node of a plan that a Celery canvas drives; nothing is recorded."""
        return self._executor.run_inline(plan, node, upstream=upstream, run="canvas")

    def record(self, attempt: Attempt, *, worker: str) -> Advance:
        """Write down how an attempt ended and publish what became ready."""
        return self._record(attempt.ticket, attempt.plan, attempt.outcome, worker)

    def record_and_go_on(self, attempt: Attempt, *, worker: str, queue: str) -> None:
        """Record an attempt, then run what it made ready here, one after the other.

        Args:
            attempt: The attempt that a message carried.
            worker: This worker's name.
            queue: The broker's queue the message came on.
        """
        plan = attempt.plan
        unit = Unit.of(plan, attempt.ticket.node) if self._work_first else None
        self._record(attempt.ticket, plan, attempt.outcome, worker, unit)
        if unit is None or unit.taken is None:
            return
        rows = InlineRows(self.services.rows, worker=worker, queue=queue)
        try:
            self._go_on(unit, plan, rows, worker)
        except FlowcoreError as error:
            # The nodes are safe: what was not recorded is run again when its lease is over.
            _log.warning("a unit of run %s ended early: %s", attempt.ticket.run, error)
        finally:
            rows.send()

    def _go_on(self, unit: Unit, plan: Plan, rows: InlineRows, worker: str) -> None:
        while (ticket := unit.taken) is not None:
            started = time.time()
            attempt = self._executor.run(ticket, plan, worker=worker)
            if attempt is None:
                return
            advance = self._record(ticket, plan, attempt.outcome, worker, unit)
            if advance.accepted:
                rows.add(ticket, plan, attempt.outcome, started=started)

    def show_cancelled(self, ticket: Ticket, plan_hash: str, *, worker: str) -> bool:
        """Bring the row of a node to an end if its run was stopped; say whether it was."""
        services = self.services
        if services.reader.states(ticket.run, [ticket.node]).get(ticket.node) is not _CANCELLED:
            return False
        plan = services.store.get_plan(plan_hash)
        nodes = [plan.ids[ticket.node]]
        services.rows.revoked(run=ticket.run, flow=plan.flow, nodes=nodes, hostname=worker)
        return True

    def revoke(self, ticket: Ticket, plan_hash: str, *, worker: str, killed: bool) -> None:
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

    def lose(self, ticket: Ticket, plan_hash: str, *, worker: str) -> None:
        """The process that ran the attempt is dead: let another one have the node at once."""
        plan = self.services.store.get_plan(plan_hash)
        self._record(ticket, plan, Outcome(kind="lost", failure=WORKER_LOST), worker)

    def _record(
        self, ticket: Ticket, plan: Plan, outcome: Outcome, worker: str, unit: Unit | None = None
    ) -> Advance:
        services = self.services
        advance = _insist(
            lambda: complete(
                services.store, services.dispatcher, ticket, outcome, plan=plan, unit=unit
            )
        )
        if advance.finished is not None:
            show_end(services, ticket.run, worker=worker)
        return advance


def show_end(services: Services, run: str, *, worker: str) -> None:
    """Bring the rows of a run that has ended to their ends, whoever ended it.

    A node that waited for a retry when its run was stopped sends nothing any more: it is told of
    here. One whose message is still on its way is told of by who receives that.
    """
    try:
        summary = services.reader.summary(run)
        if summary is None or not summary.state.is_terminal:
            return
        services.rows.ended(summary, hostname=worker)
        if summary.state is RunState.SUCCEEDED:
            return
        record = services.reader.record(run)
        nodes = record.nodes.values() if record else ()
        gone = [node.id for node in nodes if node.state is _CANCELLED and node.attempts]
        services.rows.revoked(run=run, flow=summary.flow, nodes=gone, hostname=worker)
    except FlowcoreError as error:
        _log.debug("monitors were not told of the end of run %s: %s", run, error)


def _insist(write: Callable[[], Advance]) -> Advance:
    """Try to record for some seconds: work that is done should not be done again.

    Should the store stay out of reach, the lease runs out and the node is run again.
    """
    for left in reversed(range(_RECORD_TRIES)):
        try:
            return write()
        except StoreUnreachableError:
            if not left:
                raise
            time.sleep(1.0)
    return Advance(accepted=False)
