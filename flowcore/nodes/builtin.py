"""The built-in node types.

In: a node's arguments. Out: its output. Not here: running them (engine), third-party types
(resolve).

A parameter called ``upstream`` receives what flows into the node: the run's input for a first
node, else what its predecessors gave.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flowcore.errors import NodeCancelledError
from flowcore.nodes.context import Context

__all__ = ["BUILTIN", "PLANNED", "end", "passthrough", "sleep", "start"]


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


def sleep(seconds: float, ctx: Context) -> None:
    """Occupy a worker slot for some seconds, as real work would; for tests and benchmarks."""
    if ctx.stopping.wait(seconds):
        msg = "the run was stopped"
        raise NodeCancelledError(msg)


#: The types of this release, by the name that `uses` gives.
BUILTIN: Mapping[str, Callable[..., Any]] = {
    "start": start,
    "end": end,
    "passthrough": passthrough,
    "sleep": sleep,
}

#: Names that later releases will give a meaning; refused until then.
PLANNED: frozenset[str] = frozenset(
    {
        "agent", "approval", "condition", "for_each", "http", "llm", "loop", "map", "memory",
        "message", "parallel", "switch", "tool", "wait", "workflow",
    }
)  # fmt: skip
