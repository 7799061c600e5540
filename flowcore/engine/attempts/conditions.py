"""Whether a condition holds: a node's ``if``, an edge's ``when``.

In: an expression, and what it can see. Out: yes or no. Not here: what follows (worker.executor,
values.store_writes).
"""

from collections.abc import Mapping

from flowcore.engine.attempts.upstream import Upstream
from flowcore.errors import ExpressionError
from flowcore.expr.cel import compile_expression

__all__ = ["holds"]


def holds(
    text: str,
    upstream: Upstream,
    *,
    what: str,
    node: int,
    states: Mapping[int, str] | None = None,
) -> bool:
    """Work out a condition.

    Args:
        text: CEL.
        upstream: What it can see.
        node: Whose condition it is, or whose edge's.
        what: How an error names it, such as ``condition of edge a -> b``.
        states: How nodes ended, where it is not known to ``upstream``.

    Raises:
        ExpressionError: It failed on its data, or gave something else than true or false.
    """
    expression = compile_expression(text)
    context = upstream.context(
        expression.node_refs, names=expression.names, states=states, node=node
    )
    try:
        found = expression.evaluate(context)
    except ExpressionError as error:
        raise ExpressionError(f"{what}: {error}") from error
    if not isinstance(found, bool):
        raise ExpressionError(f"{what}: {text.strip()}: it is {found!r}, not true or false")
    return found
