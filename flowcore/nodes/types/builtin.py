"""The built-in node types.

In: a node's arguments. Out: its output. Not here: running them (engine), third-party types
(resolve).

A parameter called ``upstream`` receives what flows into the node: the run's input for a first
node, else what its predecessors gave.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flowcore.errors import (
    ApprovalRejectedError,
    NodeCancelledError,
    NodeTimeoutError,
)
from flowcore.nodes.arguments.control import ConditionArguments
from flowcore.nodes.arguments.waiting import (
    ApprovalArguments,
    SignalArguments,
    SleepArguments,
    WaitArguments,
)
from flowcore.nodes.context import Context
from flowcore.nodes.types.http import http
from flowcore.nodes.types.llm import llm
from flowcore.nodes.types.memory import memory
from flowcore.nodes.types.structured import STRUCTURED
from flowcore.nodes.types.tool import tool
from flowcore.types import format_duration

__all__ = [
    "BUILTIN",
    "PLANNED",
    "Suspend",
    "condition",
    "end",
    "passthrough",
    "signal",
    "sleep",
    "start",
    "wait",
]


class Suspend(Exception):  # noqa: N818  (no error: the node goes on later)
    """Raised by a node to wait without a worker."""

    def __init__(
        self,
        *,
        seconds: float | None = None,
        until: float | None = None,
        signal: str | None = None,
        reason: str,
    ) -> None:
        """Wait for a time, until a time (Unix seconds), for a signal, or what comes first."""
        super().__init__(reason)
        self.seconds = seconds
        self.until = until
        self.signal = signal
        self.reason = reason


def start(upstream: Any = None) -> Any:
    """Begin a flow: gives the run's input on."""
    return upstream


def passthrough(upstream: Any = None, **values: Any) -> Any:
    """Give on what the node's ``with`` says, or else what came from upstream.

    Args:
        upstream: What flows into the node.
        **values: The node's ``with``.
    """
    return values or upstream


def end(upstream: Any = None, **values: Any) -> Any:
    """End a flow: gives on like ``passthrough``."""
    return passthrough(upstream, **values)


def condition(ctx: Context | None = None, **more: Any) -> str | list[str] | None:
    """Choose where to go on: give on the name of the first case that holds.

    Args:
        ctx: The attempt.
        **more: ``cases``, a condition (CEL) for each name of a node that runs after this one;
            ``default``, the name for when none of them holds; ``match``: ``first`` (so if left
            out), or ``all``, which chooses every case that holds and gives on a list of names.
            Nodes that are not chosen are skipped; those that no case names run in any case.

    Raises:
        UsageError: A case is neither true nor false.
    """
    node = ctx.node_id if ctx is not None else ""
    given = ConditionArguments.read(more, uses="condition", node=node)
    chosen = [name for name, holds in given.cases.items() if holds]
    if given.match == "all":
        return chosen or ([given.default] if given.default else [])
    return chosen[0] if chosen else given.default


def sleep(seconds: float, ctx: Context) -> None:
    """Occupy a worker slot for some seconds, as real work would; for tests and benchmarks."""
    node = getattr(ctx, "node_id", "")
    given = SleepArguments.read({"seconds": seconds}, uses="sleep", node=node)
    if ctx.stopping.wait(given.seconds):
        msg = "the run was stopped"
        raise NodeCancelledError(msg)


def wait(ctx: Context, upstream: Any = None, **more: Any) -> Any:
    """Wait for some time, or until a time, without a worker; then give on what came from upstream.

    Args:
        ctx: The attempt.
        upstream: What flows into the node.
        **more: ``until``, when to go on: Unix seconds, or text such as ``2026-12-24T18:00:00Z``;
            or ``for``, the time to wait: seconds, or text such as ``90s`` or ``2h``. No parameters
            of their own, which would be taken from the run's input, too.

    Raises:
        UsageError: Neither or both are given, or one is no time.
    """
    given = WaitArguments.read(more, uses="wait", node=ctx.node_id)
    if ctx.resumed is not None:
        return upstream
    if given.for_ is not None:
        raise Suspend(seconds=given.for_, reason=f"waits for {format_duration(given.for_)}")
    raise Suspend(until=given.until, reason=f"waits until {more['until']}")


def signal(ctx: Context, **more: Any) -> Any:
    """Wait for a signal, without a worker; give on the value that came with it.

    Args:
        ctx: The attempt.
        **more: ``name``, the signal's, as ``Run.signal`` gives it; ``timeout``, how long to wait at
            most: seconds, or text such as ``2h``; ``default``, the value when the time is over.

    Raises:
        NodeTimeoutError: The time is over, and there is no default.
    """
    given = SignalArguments.read(more, uses="signal", node=ctx.node_id)
    name, seconds = given.name, given.timeout
    if ctx.resumed is None:
        raise Suspend(seconds=seconds, signal=name, reason=f"waits for the signal {name!r}")
    if ctx.resumed.by == "signal":
        return ctx.resumed.value
    if "default" in more:
        return given.default
    msg = f"no signal {name!r} came within {format_duration(seconds or 0.0)}"
    raise NodeTimeoutError(msg)


def approval(ctx: Context, **more: Any) -> Any:
    """Ask somebody, without a worker; give on the answer: ``{"approved": true, …}``.

    Args:
        ctx: The attempt.
        **more: ``message``, what is asked; ``timeout``, how long to wait at most: seconds, or text
            such as ``2d``; ``default``, true or false, the answer when the time is over;
            ``on_reject``: ``fail`` (so if left out) or ``continue``, which gives on
            ``{"approved": false, …}``.

    Raises:
        ApprovalRejectedError: The answer is no.
        NodeTimeoutError: The time is over, and there is no default.
    """
    given = ApprovalArguments.read(more, uses="approval", node=ctx.node_id)
    answer = _answer(ctx, given.default)
    if answer is None:
        reason = f"waits for {given.message}"
        raise Suspend(seconds=given.timeout, signal=ctx.node_id, reason=reason)
    if not answer["approved"] and given.on_reject == "fail":
        why = f": {answer['comment']}" if answer.get("comment") else ""
        raise ApprovalRejectedError(f"rejected{why}")
    return answer


def _answer(ctx: Context, default: bool | None) -> dict[str, Any] | None:  # noqa: FBT001
    """Return the answer so far; None: no answer, or one that is neither yes nor no."""
    if ctx.resumed is None:
        return None
    if ctx.resumed.by == "signal":
        value = ctx.resumed.value
        if isinstance(value, dict) and isinstance(value.get("approved"), bool):
            return value
        ctx.logger.warning("this answer has no 'approved', true or false: %.200r", value)
        return None
    if default is None:
        raise NodeTimeoutError("no approval or rejection came in time")
    return {"approved": default}


#: The types of this release, by the name that `uses` gives.
BUILTIN: Mapping[str, Callable[..., Any]] = {
    "start": start,
    "end": end,
    "passthrough": passthrough,
    "sleep": sleep,
    "wait": wait,
    "signal": signal,
    "approval": approval,
    "memory": memory,
    "http": http,
    "llm": llm,
    "tool": tool,
    "condition": condition,
    "switch": condition,
    **STRUCTURED,
}

#: Names that later releases will give a meaning; refused until then.
PLANNED: frozenset[str] = frozenset({"agent", "message"})
