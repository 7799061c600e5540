"""Heartbeats: one thread per process renews the leases of all attempts that run in it.

In: tickets that start and end. Out: renewals; attempts that must end are told to.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from flowcore.engine.invoke import Stopper
from flowcore.errors import FlowcoreError, NodeCancelledError
from flowcore.ports.limiter import Limiter
from flowcore.ports.store import RunStore, Ticket
from flowcore.ports.unit import UnitTicket

__all__ = ["LeaseKeeper"]

_log = logging.getLogger(__name__)

#: Seconds between asking an attempt to end and making it.
STOP_GRACE = 2.0


class LeaseKeeper:
    """Renews leases every ``interval`` seconds while anything runs."""

    def __init__(self, store: RunStore, *, interval: float) -> None:
        """Start nothing yet: the thread begins with the first ticket."""
        self._store = store
        self._interval = interval
        self._held: dict[Ticket | UnitTicket, Stopper] = {}
        self._places: dict[tuple[str, str], Limiter] = {}
        self._asked: dict[Ticket | UnitTicket, float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def hold(self, ticket: Ticket | UnitTicket, stopper: Stopper) -> None:
        """Renew this lease from now on."""
        with self._lock:
            self._held[ticket] = stopper
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._beat, name="flowcore-leases", daemon=True
                )
                self._thread.start()

    def drop(self, ticket: Ticket | UnitTicket) -> None:
        """Stop renewing: the attempt has ended."""
        with self._lock:
            self._held.pop(ticket, None)
            self._asked.pop(ticket, None)

    def exchange(self, ticket: Ticket, stopper: Stopper) -> None:
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
        try:
            yield
        finally:
            with self._lock:
                self._places.pop(held, None)

    def _beat(self) -> None:
        while True:
            time.sleep(self._interval)
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

    def _end(self, ticket: Ticket | UnitTicket, stopper: Stopper, *, lost: bool) -> None:
        now = time.monotonic()
        with self._lock:
            if ticket not in self._held:
                return
            since = self._asked.setdefault(ticket, now)
        if lost:
            stopper.force(NodeCancelledError("the lease was lost: another worker has taken over"))
        elif since == now:
            stopper.ask()
        elif now - since >= STOP_GRACE:
            stopper.force(NodeCancelledError("the run was stopped"))
