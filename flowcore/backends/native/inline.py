"""Rows in Flower for nodes that had no message of their own.

In: attempts that a unit ran inline. Out: the task events their messages would have made.
"""

import time
from typing import Any

from flowcore.backends.native.flower import RunRow, shown_kwargs
from flowcore.plan.plan import Plan
from flowcore.ports.store import Outcome, Ticket

__all__ = ["InlineRows"]

_ENDS = {
    "succeeded": "task-succeeded",
    "failed": "task-failed",
    "retry": "task-retried",
    "cancelled": "task-revoked",
}


class InlineRows:
    """Collects the events of one unit and sends them together at its end."""

    def __init__(self, rows: RunRow, *, worker: str, queue: str) -> None:
        """Send through ``rows`` as ``worker``, of nodes that messages on ``queue`` would carry."""
        self._rows = rows
        self._worker = worker
        self._queue = queue
        self._events: list[dict[str, Any]] = []

    def add(self, ticket: Ticket, plan: Plan, outcome: Outcome, *, started: float) -> None:
        """Note an attempt that has just ended.

        Args:
            ticket: The attempt.
            plan: Its plan.
            outcome: How it ended.
            started: Unix seconds.
        """
        name, before = plan.ids[ticket.node], plan.pred[ticket.node]
        ended = time.time()
        row = {
            "uuid": f"{ticket.run}.{name}",
            "name": f"{plan.flow}.{name}",
            "args": "()",
            "kwargs": shown_kwargs(
                run=ticket.run, flow=plan.flow, node=name, attempt=ticket.attempt
            ),
            "root_id": ticket.run,
            "parent_id": f"{ticket.run}.{plan.ids[before[-1]]}" if before else ticket.run,
            "retries": ticket.attempt - 1,
        }
        end = {"type": _ENDS[outcome.kind], **row, "timestamp": ended}
        if outcome.kind == "succeeded":
            end |= {"result": "'recorded'", "runtime": ended - started}
        elif outcome.failure is not None:
            failure = outcome.failure
            end["exception"] = f"NodeFailed('{failure.type}: {failure.message}')"
            end["traceback"] = failure.traceback or ""
        self._events += [
            {"type": "task-sent", **row, "timestamp": started, "queue": self._queue},
            {"type": "task-received", **row, "timestamp": started},
            {"type": "task-started", **row, "timestamp": started},
            end,
        ]

    def send(self) -> None:
        """Send what was noted."""
        if self._events:
            self._rows.send(self._events, hostname=self._worker)
            self._events = []
