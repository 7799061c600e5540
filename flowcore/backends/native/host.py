"""A worker process as a host of nodes: what the Celery task and the chord hook call.

In: the task's few arguments. Out: attempts run, outcomes recorded, successors published.
One per process; Celery's prefork children make their own after the fork.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from flowcore.backends.native.flower import RunRow
from flowcore.backends.native.publish import CeleryDispatcher
from flowcore.engine.complete import complete
from flowcore.engine.execute import Attempt, Executor
from flowcore.engine.leases import LeaseKeeper
from flowcore.errors import StoreUnreachableError
from flowcore.plan.plan import Plan
from flowcore.ports.presence import WorkerBoard
from flowcore.ports.store import Advance, EventLog, Outcome, RunReader, RunStore, Ticket
from flowcore.run.record import WORKER_LOST

__all__ = ["HostOptions", "NodeHost", "Services"]

_log = logging.getLogger(__name__)

_RECORD_TRIES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The ports a worker process uses."""

    store: RunStore
    reader: RunReader
    events: EventLog
    dispatcher: CeleryDispatcher
    rows: RunRow
    board: WorkerBoard


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOptions:
    """Limits of a worker process."""

    heartbeat: float = 1.5
    """Seconds between renewals of leases."""
    max_output: int = 16 * 2**20
    """Bytes of one output."""
    allowed: frozenset[str] = frozenset()
    """Module prefixes nodes may come from, beyond the default."""


class NodeHost:
    """Runs nodes in this process."""

    def __init__(self, services: Services, options: HostOptions) -> None:
        """Wire the engine to the ports."""
        self.services = services
        keeper = LeaseKeeper(services.store, interval=options.heartbeat)
        self._executor = Executor(
            store=services.store,
            reader=services.reader,
            events=services.events,
            keeper=keeper,
            max_output=options.max_output,
            allowed=options.allowed,
            on_stuck=lambda ticket, plan, outcome: self._record(ticket, plan, outcome, "stuck"),
        )

    def run(self, ticket: Ticket, plan_hash: str, *, worker: str) -> Attempt | None:
        """Run one attempt; its end is recorded by ``record``."""
        plan = self.services.store.get_plan(plan_hash)
        attempt = self._executor.run(ticket, plan, worker=worker)
        if attempt is not None and attempt.first:
            self.services.rows.started(run=ticket.run, flow=plan.flow, hostname=worker)
        return attempt

    def record(self, attempt: Attempt, *, worker: str) -> Advance:
        """Write down how an attempt ended and publish what became ready."""
        return self._record(attempt.ticket, attempt.plan, attempt.outcome, worker)

    def lose(self, ticket: Ticket, plan_hash: str, *, worker: str) -> None:
        """The process that ran the attempt is dead: let another one have the node at once."""
        plan = self.services.store.get_plan(plan_hash)
        self._record(ticket, plan, Outcome(kind="lost", failure=WORKER_LOST), worker)

    def _record(self, ticket: Ticket, plan: Plan, outcome: Outcome, worker: str) -> Advance:
        services = self.services
        advance = _insist(
            lambda: complete(
                services.store, services.dispatcher, ticket, outcome, plan=plan, worker=worker
            )
        )
        if advance.finished is not None:
            self._end_row(ticket.run, worker)
        return advance

    def _end_row(self, run: str, worker: str) -> None:
        summary = self.services.reader.summary(run)
        if summary is not None and summary.finished is not None:
            self.services.rows.finished(
                run=run,
                state=summary.state.value,
                runtime=summary.finished - (summary.started or summary.created),
                hostname=worker,
            )


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
