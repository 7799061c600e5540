"""The node type ``tool``: a function that is chosen while the run goes on.

In: the tool's name and its arguments. Out: what it gives. Not here: which tools there are: the
flow's ``config.tools``.
"""

from collections.abc import Sequence
from typing import Any

from flowcore.errors import UsageError
from flowcore.nodes.context import Context
from flowcore.nodes.types.calls import ToolArguments

__all__ = ["chosen_tool", "tool"]


def tool(ctx: Context | None = None, **more: Any) -> Any:
    """Call one of the flow's tools; give on what it gives.

    Unlike ``uses: module:function`` the name may be an expression, such as what a model has asked
    for. It can be no other than one of ``config.tools``.

    Args:
        ctx: The attempt.
        **more: ``name``, a tool's: ``module:function``, or the function's name alone; ``args``, its
            arguments by name.

    Raises:
        UsageError: There is no such tool, or its arguments are no map.
    """
    tools = tuple(map(str, more.pop("tools", None) or ()))
    node = ctx.node_id if ctx is not None else ""
    given = ToolArguments.read(more, uses="tool", node=node)
    return _function(chosen_tool(given.name, tools))(**given.args)


def chosen_tool(name: str, tools: Sequence[str]) -> str:
    """Find a tool by its name, or by its function's name alone.

    Raises:
        UsageError: There is no such tool, or more than one.
    """
    found = [one for one in tools if name in (one, one.rpartition(":")[2].rpartition(".")[2])]
    if len(found) != 1:
        there = ", ".join(tools) or "none"
        which = "is the name of several" if found else "is none"
        raise UsageError(f"{name!r} {which} of this flow's tools (config.tools: {there})")
    return found[0]


def _function(uses: str) -> Any:
    # Here, since resolving knows the built-in types, of which this is one.
    from flowcore.nodes.resolve import resolve  # noqa: PLC0415

    found = resolve(uses)
    if found.builtin or uses.startswith("celery:"):
        raise UsageError(f"{uses!r} is no function, which a tool has to be")
    return found.function
