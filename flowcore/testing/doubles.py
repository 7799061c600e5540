"""Test doubles of leases and the broker.

In: nothing. Out: doubles that Flows is wired with. Not here: the engine, which is the real one;
what stands for functions (stubs).
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from flowcore.engine.attempts.heartbeat import Heartbeater
from flowcore.plan.plan import Plan
from flowcore.ports.store import AttemptRef, Dispatch

__all__ = ["Messages", "NoLeases"]


class NoLeases(Heartbeater):
    """Keeps no lease: nothing here dies while it works."""

    def hold(self, ticket: Any, stopper: Any, **_: Any) -> None:
        """Note nothing, and start no thread."""


@dataclass
class Messages:
    """Messages that have not been delivered."""

    tickets: deque[tuple[AttemptRef, Plan]] = field(default_factory=deque)

    def publish(self, dispatch: Dispatch, plan: Plan) -> None:
        """Put messages into the queue."""
        self.tickets += [
            (AttemptRef(run=dispatch.run, node=node, attempt=attempt), plan)
            for node, attempt in dispatch.nodes
        ]

    def tell_end(self, run: str, plan: Plan, *, namespace: str) -> None:
        """There is nobody to tell."""
