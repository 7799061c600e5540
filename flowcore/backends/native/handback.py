"""What a worker that shuts down was doing goes to others, without waiting for its leases.

In: Celery's news that it cancels a request. Out: its nodes are dispatched again. Not here: waiting
for what is short (Celery's soft shutdown does).
"""

import logging
from typing import Any

from celery.worker.request import Request

from flowcore.errors import FlowcoreError
from flowcore.ports.store import Ticket
from flowcore.ports.unit import UnitTicket

__all__ = ["NodeRequest"]

_log = logging.getLogger(__name__)


class NodeRequest(Request):
    """A request that carries nodes: cancelled, it gives them up."""

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:  # noqa: FBT001, FBT002  (celery's)
        """Called in the worker's parent, in a cold shutdown."""
        super().cancel(pool, signal=signal, emit_retry=emit_retry)
        app: Any = self.app  # has an attribute of ours
        host, given, worker = app.flowcore.host(), self.kwargs, self.hostname or ""
        try:
            if "unit" in given:
                unit = UnitTicket(run=given["run"], unit=given["unit"])
                host.lose_unit(unit, given["plan"], worker=worker)
            else:
                ticket = Ticket(run=given["run"], node=given["node"], attempt=given["attempt"])
                host.lose(ticket, given["plan"], worker=worker)
        except FlowcoreError as error:
            _log.warning("%s was not handed back, its lease runs out: %s", self.id, error)
        else:
            _log.info("handed back %s", self.id)
