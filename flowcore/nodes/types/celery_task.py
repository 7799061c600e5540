"""Nodes that are Celery tasks of somebody else: ``uses: celery:proj.tasks.add``.

In: the task's name, the node's ``with``. Out: what the task gave. Not here: sending it (backends).

The task runs where it always has, on its own workers, which need nothing of flowcore. The node
waits for it without a worker; the task's ``link`` says how it ended.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flowcore.errors import CeleryTaskError, NodeTimeoutError
from flowcore.nodes.arguments.calls import TaskArguments
from flowcore.nodes.context import Context
from flowcore.types import format_duration

__all__ = ["PREFIX", "TaskCall", "celery_node", "task_params"]

PREFIX = "celery:"


class TaskCall(Exception):  # noqa: N818  (no error: the node goes on when the task has ended)
    """Raised by a node to have a task run elsewhere."""

    def __init__(
        self,
        task: str,
        args: list[Any],
        kwargs: dict[str, Any],
        *,
        queue: str | None,
        timeout: float | None,
    ) -> None:
        """Name the task, what it is given, where it is sent and how long it may take."""
        super().__init__(task)
        self.task = task
        self.args_given = args
        self.kwargs_given = kwargs
        self.queue = queue
        self.timeout = timeout


def celery_node(uses: str) -> Callable[..., Any]:
    """Make the function of a node that is a task."""
    return partial(_call, uses.removeprefix(PREFIX))


def task_params(
    given: Mapping[str, Any], *, queue: str | None, timeout: float | None
) -> dict[str, Any]:
    """Say in a node's arguments what else there is to know of its task."""
    return {"given": dict(given), "queue": queue, "timeout": timeout}


def _call(task: str, ctx: Context, upstream: Any = None, **more: Any) -> Any:
    given, timeout = more.get("given") or {}, more.get("timeout")
    if ctx.resumed is None:
        args, kwargs = _arguments(given, upstream, task, ctx.node_id)
        raise TaskCall(task, args, kwargs, queue=more.get("queue"), timeout=timeout)
    if ctx.resumed.by == "time":
        took = format_duration(timeout or 0.0)
        raise NodeTimeoutError(f"the Celery task {task} has not ended within {took}")
    answer = ctx.resumed.value
    if isinstance(answer, dict) and "error" in answer:
        error = answer["error"]
        kind, module = error.get("type"), error.get("module")
        named = f"{module}.{kind}" if module and module != "builtins" else kind
        msg = f"{task}: {kind}: {error.get('message')}"
        raise CeleryTaskError(msg, task_error=named)
    return answer.get("result") if isinstance(answer, dict) else answer


def _arguments(
    given: Mapping[str, Any], upstream: Any, task: str, node: str
) -> tuple[list[Any], dict[str, Any]]:
    """The task's arguments: ``args`` and ``kwargs``, or all by name; else what flows in."""
    if not given:
        return ([] if upstream in (None, {}) else [upstream]), {}
    if given.keys() <= {"args", "kwargs"}:
        TaskArguments.read(given, uses=f"{PREFIX}{task}", node=node)
        return list(given.get("args") or ()), dict(given.get("kwargs") or {})
    return [], dict(given)
