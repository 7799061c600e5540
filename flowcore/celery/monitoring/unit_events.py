"""Rows in Flower for nodes that had no message of their own.

In: attempts that a unit ran inline. Out: the task events their messages would have made.
"""

import time
from typing import Any

from flowcore.celery.monitoring.task_events import RESULTS, RunTaskEvents, shown_kwargs
from flowcore.plan.plan import Plan
from flowcore.ports.store import Outcome

__all__ = ["UnitTaskEvents"]

_ENDS = {
    "succeeded": "task-succeeded",
    "skipped": "task-succeeded",
    "failed": "task-failed",
    "retry": "task-retried",
    "waiting": "task-retried",
    "cancelled": "task-revoked",
}


class UnitTaskEvents:
    """Collects the events of one unit and sends them together at its end."""

    def __init__(
        self, rows: RunTaskEvents, run: str, plan: Plan, *, worker: str, queue: str
    ) -> None:
        """Send through ``rows`` as ``worker``, of nodes that messages on ``queue`` would carry."""
        self._rows = rows
        self._run = run
        self._plan = plan
        self._worker = worker
        self._queue = queue
        self._events: list[dict[str, Any]] = []
        self._zero = time.time() - time.monotonic()
        self._last = 0.0

    def wanted(self) -> bool:
        """Return whether anybody listens: most of the time nobody does, and rows are not kept."""
        return self._rows.listened()

    def add(self, node: int, outcome: Outcome, seconds: float) -> None:
        """Note a first attempt that has just ended.

        Args:
            node: The node.
            outcome: How it ended.
            seconds: How long it took.
        """
        plan, run = self._plan, self._run
        name, before = plan.ids[node], plan.pred[node]
        # By one clock, and one after the other: what came before has ended.
        ended = self._zero + time.monotonic()
        started = max(ended - seconds, self._last)
        self._last = ended
        row = {
            "uuid": f"{run}.{name}",
            "name": f"{plan.flow}.{name}",
            "args": "()",
            "kwargs": shown_kwargs(
                run=run, flow=plan.flow, node=name, attempt=1, tags=plan.policy(node).tags
            ),
            "root_id": run,
            "parent_id": f"{run}.{plan.ids[before[-1]]}" if before else run,
            "retries": 0,
        }
        end = {"type": _ENDS[outcome.kind], **row, "timestamp": ended}
        if word := RESULTS.get(outcome.kind):
            end |= {"result": repr(word), "runtime": seconds}
        elif outcome.wait is not None:
            end["exception"] = outcome.wait.reason
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
