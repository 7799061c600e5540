"""The node type ``tool``: a function that is chosen while the run goes on.

In: the tool's name and its arguments. Out: what it gives. Not here: which tools there are: the
flow's ``config.tools``.
"""

from typing import Any

from flowcore.errors import UsageError

__all__ = ["tool"]


def tool(**more: Any) -> Any:
    """Call one of the flow's tools; give on what it gives.

    Unlike ``uses: module:function`` the name may be an expression, such as what a model has asked
    for. It can be no other than one of ``config.tools``.

    Args:
        **more: ``name``, a tool's: ``module:function``, or the function's name alone; ``args``, its
            arguments by name.

    Raises:
        UsageError: There is no such tool, or its arguments are no map.
    """
    name, args = more.get("name"), more.get("args") or {}
    tools = [str(one) for one in more.get("tools", ())]
    found = [one for one in tools if name in (one, one.rpartition(":")[2].rpartition(".")[2])]
    if len(found) != 1:
        there = ", ".join(tools) or "none"
        which = "is the name of several" if found else "is none"
        raise UsageError(f"{name!r} {which} of this flow's tools (config.tools: {there})")
    if not isinstance(args, dict):
        raise UsageError(f"'args' of tool {name!r} are a map by name, got {type(args).__name__}")
    return _function(found[0])(**args)


def _function(uses: str) -> Any:
    # Here, since resolving knows the built-in types, of which this is one.
    from flowcore.nodes.resolve import resolve  # noqa: PLC0415

    return resolve(uses).function
