"""Celery tasks of somebody else in a test: what the test says that they do.

In: functions by the names of tasks. Out: their answers, as nodes wait for them. Not here: real
tasks (celery.external_tasks).
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowcore.errors import CeleryTaskError
from flowcore.ports.store import AttemptRef

__all__ = ["GivenTasks"]


@dataclass
class GivenTasks:
    """Implements ``TaskSender``; a task is run when it is sent."""

    functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    answers: deque[tuple[AttemptRef, dict[str, Any]]] = field(default_factory=deque)

    def send(
        self,
        task: str,
        args: list[Any],
        kwargs: dict[str, Any],
        *,
        queue: str | None,
        ticket: AttemptRef,
    ) -> str:
        """Run a task, and keep what it answers."""
        if task not in self.functions:
            msg = f"no test has said what the Celery task {task} does: flows.task({task!r}, ...)"
            raise CeleryTaskError(msg)
        try:
            answer: dict[str, Any] = {"result": self.functions[task](*args, **kwargs)}
        except Exception as error:  # noqa: BLE001  (whatever it raises, the node hears of it)
            kind = type(error)
            answer = {
                "error": {
                    "type": kind.__name__,
                    "module": kind.__module__,
                    "message": str(error),
                }
            }
        self.answers.append((ticket, answer))
        return f"{ticket.run}.{ticket.node}"

    def revoke(self, tickets: Sequence[AttemptRef]) -> None:
        """Nothing to do: tasks run as soon as they are sent."""
