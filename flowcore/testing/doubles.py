"""What stands in a test for leases, the broker, and what goes wrong.

In: nothing. Out: doubles that Flows is wired with. Not here: the engine, which is the real one.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from flowcore.engine.leases import LeaseKeeper
from flowcore.plan.plan import Plan
from flowcore.ports.store import Dispatch, Ticket

__all__ = ["Fault", "Messages", "NoLeases"]


class NoLeases(LeaseKeeper):
    """Keeps no lease: nothing here dies while it works."""

    def hold(self, ticket: Any, stopper: Any, **_: Any) -> None:
        """Note nothing, and start no thread."""


@dataclass
class Messages:
    """Messages that have not been delivered."""

    tickets: deque[tuple[Ticket, Plan]] = field(default_factory=deque)

    def publish(self, dispatch: Dispatch, plan: Plan) -> None:
        """Put messages into the queue."""
        self.tickets += [
            (Ticket(run=dispatch.run, node=node, attempt=attempt), plan)
            for node, attempt in dispatch.nodes
        ]


@dataclass
class Fault:
    """What goes wrong at a node."""

    error: BaseException
    left: int
