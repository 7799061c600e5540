"""The node type ``tool``: a function that is chosen while the run goes on.

In: the tool's name and its arguments. Out: what it gives. Not here: which tools there are: the
flow's ``config.tools``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flowcore.errors import ArgumentError, UsageError
from flowcore.graph.diagnostic import quote
from flowcore.nodes.arguments.calls import ToolArguments
from flowcore.nodes.arguments.model import Misfit, near
from flowcore.nodes.context import Context
from flowcore.nodes.parameters import parameters_of
from flowcore.nodes.signature import Signature, signature_of

__all__ = ["chosen_tool", "misfits_of_call", "tool"]


def tool(ctx: Context | None = None, **more: Any) -> Any:
    """Call one of the flow's tools; give on what it gives.

    Unlike ``uses: module:function`` the name may be an expression, such as what a model has asked
    for. It can be no other than one of ``config.tools``.

    Args:
        ctx: The attempt.
        **more: ``name``, a tool's: ``module:function``, or the function's name alone; ``args``, its
            arguments by name.

    Raises:
        UsageError: There is no such tool, or it does not take these arguments.
        ArgumentError: Its annotations refuse one of them.
    """
    tools = tuple(map(str, more.pop("tools", None) or ()))
    node = ctx.node_id if ctx is not None else ""
    given = ToolArguments.read(more, uses="tool", node=node)
    function = _function(chosen_tool(given.name, tools))
    signature = signature_of(function)
    wrong = misfits_of_call(signature, given.args)
    if wrong:
        label = f"tool {given.name!r} of node {node!r}" if node else f"tool {given.name!r}"
        hint = f" ({wrong[0].suggestion})" if wrong[0].suggestion else ""
        raise UsageError(f"{wrong[0].sentence(label)}{hint}")
    args = {**dict.fromkeys(signature.context, ctx), **given.args}
    first = [args.pop(name) for name in signature.positional if name in args]
    placed = tuple(first)
    if (parameters := parameters_of(function)) is not None:
        placed, args, refused = parameters.read(placed, args)
        if refused:
            label = f"tool {given.name!r} of node {node!r}" if node else f"tool {given.name!r}"
            raise ArgumentError(f"{label} is given what its annotations refuse: {refused[0]}")
    return function(*placed, **args)


def misfits_of_call(signature: Signature, args: Mapping[str, Any]) -> list[Misfit]:
    """Find the arguments that a tool does not take, and those that it needs and is not given."""
    if not signature.known:
        return []
    known = [*signature.required, *signature.optional]
    takes = f"it takes {', '.join(known) or 'nothing'}"
    taken = {*known, *signature.context}
    extra = [] if signature.open else [name for name in args if name not in taken]
    missing = [name for name in signature.required if name not in args]
    return [
        *(
            Misfit(
                code="FC226",
                what=f"takes no {quote(name)}",
                path=("args", name),
                suggestion=near(name, known) or takes,
                at_key=True,
                is_of_type=True,
            )
            for name in extra
        ),
        *(
            Misfit(
                code="FC204",
                what=f"needs {quote(name)}",
                path=("args",),
                suggestion=takes,
                is_of_type=True,
            )
            for name in missing
        ),
    ]


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
        raise UsageError(f"{uses!r} is not a function, as a tool must be")
    return found.function
