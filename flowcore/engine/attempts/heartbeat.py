"""Heartbeats: one thread per process renews the leases of all attempts that run in it.

In: tickets that start and end. Out: renewals; attempts that must end are told to. In the child of a
pool also what its parent has to know, should this thread not get its turn (work_table).
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flowcore.engine.attempts.invocation import CancelHandle
from flowcore.engine.attempts.work_table import WorkRecord
from flowcore.errors import FlowcoreError, NodeCancelledError
from flowcore.ports.limiter import Limiter
from flowcore.ports.store import AttemptRef, Claim, RunStore
from flowcore.ports.unit import UnitRef

__all__ = ["Heartbeater"]

_log = logging.getLogger(__name__)

#: Seconds between asking an attempt to end and making it.
STOP_GRACE = 2.0

#: Seconds after that in which an attempt that does not end is given up.
_GIVE_UP_AFTER = 1.5

#: Seconds between two looks at attempts that were asked to end.
_LOOK = 0.5


class Heartbeater:
    """Renews leases every ``interval`` seconds while anything runs."""

    def __init__(
        self, store: RunStore, *, interval: float, record: WorkRecord | None = None
    ) -> None:
        """Start nothing yet: the thread begins with the first ticket.

        Args:
            store: The run store.
            interval: Seconds between renewals.
            record: What the parent of this process watches, if it does.
        """
        self._store = store
        self._interval = interval
        self.record = record
        self._held: dict[AttemptRef | UnitRef, CancelHandle] = {}
        self._places: dict[tuple[str, str], Limiter] = {}
        self._asked: dict[AttemptRef | UnitRef, float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def hold(
        self,
        ticket: AttemptRef | UnitRef,
        stopper: CancelHandle,
        *,
        plan: str = "",
        claim: Claim | None = None,
    ) -> None:
        """Renew this lease from now on.

        Args:
            ticket: What is held.
            stopper: By what it is ended.
            plan: The hash of its plan.
            claim: The claim of an attempt.
        """
        if self.record is not None:
            _enter(self.record, ticket, plan, claim)
        with self._lock:
            self._held[ticket] = stopper
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._beat, name="flowcore-leases", daemon=True
                )
                self._thread.start()

    def drop(self, ticket: AttemptRef | UnitRef) -> None:
        """Stop renewing: the attempt has ended."""
        with self._lock:
            self._held.pop(ticket, None)
            self._asked.pop(ticket, None)
        if self.record is not None:
            self.record.close()

    def stuck(self) -> int:
        """Count what was given up and still runs."""
        with self._lock:
            return sum(stopper.stuck for stopper in self._held.values())

    def exchange(self, ticket: AttemptRef, stopper: CancelHandle) -> None:
        """Stop by another handle from now on what is held, if it is."""
        with self._lock:
            if ticket in self._held:
                self._held[ticket] = stopper

    @contextmanager
    def place(self, limiter: Limiter, held: tuple[str, str] | None) -> Iterator[None]:
        """Keep the place of a limit for the length of the block, as long as leases are renewed."""
        if held is None:
            yield
            return
        with self._lock:
            self._places[held] = limiter
            self._tell_places()
        try:
            yield
        finally:
            with self._lock:
                self._places.pop(held, None)
                self._tell_places()

    def _tell_places(self) -> None:
        if self.record is not None:
            self.record.hold(self._places)

    def _beat(self) -> None:
        while True:
            time.sleep(min(self._interval, _LOOK) if self._asked else self._interval)
            if self.record is not None:
                self.record.beat(time.monotonic())
            with self._lock:
                held, places = dict(self._held), dict(self._places)
            if not held:
                continue
            try:
                for limiter in set(places.values()):
                    limiter.renew([one for one, of in places.items() if of is limiter])
                verdicts = self._store.renew(list(held))
            except FlowcoreError as error:
                # The lease may run out; if it does, another worker takes over and this
                # attempt's result is refused.
                _log.warning("could not renew %d leases: %s", len(held), error)
                continue
            for ticket, lost in verdicts.items():
                self._end(ticket, held[ticket], lost=lost)

    def _end(self, ticket: AttemptRef | UnitRef, stopper: CancelHandle, *, lost: bool) -> None:
        now = time.monotonic()
        with self._lock:
            if ticket not in self._held:
                return
            since = self._asked.setdefault(ticket, now)
            if since == now and self.record is not None:
                self.record.ask(now)
        why = "the lease was lost: another worker has taken over" if lost else "the run was stopped"
        if since == now and not lost:
            stopper.ask()
        elif lost or now - since >= STOP_GRACE:
            stopper.force(NodeCancelledError(why))
        if now - since >= STOP_GRACE + _GIVE_UP_AFTER:
            stopper.give_up(NodeCancelledError(why))


def _enter(
    record: WorkRecord, ticket: AttemptRef | UnitRef, plan: str, claim: Claim | None
) -> None:
    """Let the parent know; the nodes of a unit are told of as they begin."""
    if isinstance(ticket, UnitRef):
        record.open(ticket.run, plan=plan, unit=ticket.unit)
    else:
        past = (claim.lost, claim.before, claim.failure is not None) if claim else (0, 0, False)
        record.open(ticket.run, plan=plan, past=past, turn=ticket.turn or 0)
        record.begin(ticket.node, ticket.attempt)
