"""Tasks of somebody else, which a node has run and waits for.

In: a task's name and arguments. Out: it is on its way; a signal says how it ended. Not here: how.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from flowcore.ports.store import AttemptRef

__all__ = ["TaskSender", "answer_name", "task_id"]


def task_id(ticket: AttemptRef) -> str:
    """The id of the task that an attempt has sent."""
    return f"{ticket.run}.{ticket.node}.{ticket.attempt}"


def answer_name(ticket: AttemptRef) -> str:
    """The name of the signal that a task's end is told by."""
    return f"celery:{ticket.node}:{ticket.attempt}"


class TaskSender(Protocol):
    """Sends tasks."""

    def send(
        self,
        task: str,
        args: list[Any],
        kwargs: dict[str, Any],
        *,
        queue: str | None,
        ticket: AttemptRef,
    ) -> str:
        """Send a task whose end is told to the node of an attempt; return the task's id.

        Raises:
            BrokerUnreachableError: The broker does not answer.
            UnsupportedValueError: An argument is not plain data.
        """
        ...

    def revoke(self, tickets: Sequence[AttemptRef]) -> None:
        """Have the tasks of attempts that nobody waits for any more not begin.

        What runs already goes on. Workers that cannot be told of it now run what they have.
        """
        ...
