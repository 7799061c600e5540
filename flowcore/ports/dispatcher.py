"""The dispatcher: rings the doorbell for nodes that are ready.

In: dispatches the store has recorded. Out: messages, on any broker. Not here: what is ready.
"""

from typing import Protocol

from flowcore.plan.plan import Plan
from flowcore.ports.store import Dispatch

__all__ = ["Dispatcher"]


class Dispatcher(Protocol):
    """Publishes one message per node.

    A message may be lost or doubled without harm: the store holds the truth. So an
    implementation reports a broker it cannot reach in its log and returns.
    """

    def publish(self, dispatch: Dispatch, plan: Plan) -> None:
        """Send the messages of a group together."""
        ...
