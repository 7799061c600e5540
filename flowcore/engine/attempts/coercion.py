"""Giving a node's function what its annotations say, or failing the node.

In: a function. Out: the same one behind a check of its arguments; the very same one if there is
nothing to check. Not here: reading annotations (nodes.parameters), what is returned
(output_validation).

The check is part of the call: validators are the user's code, under the node's timeout.
"""

from collections.abc import Callable
from typing import Any

from flowcore.errors import ArgumentError
from flowcore.nodes.parameters import parameters_of

__all__ = ["coerced"]

_MOST = 5


def coerced(
    function: Callable[..., Any],
    *,
    uses: str,
    node: str,
    like: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """Put a check of its arguments before a function.

    Args:
        function: Of any form: what it returns is passed on.
        uses: Its name, for messages.
        node: The node's id, for messages.
        like: The function whose annotations count, if that is another one.
    """
    parameters = parameters_of(function if like is None else like)
    if parameters is None:
        return function
    read = parameters.read

    def call(*args: Any, **kwargs: Any) -> Any:
        args, kwargs, wrong = read(args, kwargs)
        if wrong:
            raise ArgumentError(_told(wrong, uses, node))
        return function(*args, **kwargs)

    return call


def _told(wrong: list[str], uses: str, node: str) -> str:
    more = f"; and {len(wrong) - _MOST} more" if len(wrong) > _MOST else ""
    return (
        f"node {node!r} gives {uses} what its annotations refuse: "
        f"{'; '.join(wrong[:_MOST])}{more} (give another value, or change the annotation)"
    )
