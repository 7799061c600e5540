"""Work first: a worker that has ended a node goes on with one that became ready.

In: what became ready. Out: the node to go on with, and the rest to publish.

A message costs more than a short node. The worker that completes a node is about to be idle, so it
takes one of the nodes it made ready and publishes the others: no parallelism is lost, and a chain
needs one message for a quarter of a second of work. The intent to dispatch the node it takes is
recorded like any other's: should the worker die, a janitor publishes it.
"""

import time
from dataclasses import dataclass, replace

from flowcore.plan.plan import Plan
from flowcore.ports.store import Dispatch, Ticket

__all__ = ["HAND_BACK", "Unit"]

#: Seconds after which a unit publishes whatever is ready, so that others get their turn.
HAND_BACK = 0.25


@dataclass(slots=True, kw_only=True)
class Unit:
    """What one message has come to carry: its node, and those the worker goes on with.

    A node with a time limit travels by itself: the pool's hard limit belongs to a message.
    """

    queue: str | None
    """The queue the message came on, as policies name it: another's nodes are not for here."""
    ends: float
    """On the monotonic clock."""
    taken: Ticket | None = None
    """The node to go on with."""

    @classmethod
    def of(cls, plan: Plan, node: int) -> "Unit | None":
        """Open the unit of a message; None when it can carry no more than its node."""
        policy = plan.policy(node)
        if policy.timeout is not None:
            return None
        return cls(queue=policy.queue, ends=time.monotonic() + HAND_BACK)

    def take(self, dispatch: Dispatch, plan: Plan) -> Dispatch | None:
        """Take one node if there is time and one that fits; return what remains to publish."""
        self.taken = None
        if time.monotonic() >= self.ends:
            return dispatch
        for at, (node, attempt) in enumerate(dispatch.nodes):
            policy = plan.policy(node)
            if policy.timeout is None and policy.queue == self.queue:
                self.taken = Ticket(run=dispatch.run, node=node, attempt=attempt)
                rest = dispatch.nodes[:at] + dispatch.nodes[at + 1 :]
                return replace(dispatch, nodes=rest) if rest else None
        return dispatch
