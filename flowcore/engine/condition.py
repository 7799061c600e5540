"""Whether a node's own condition, its ``if``, holds.

In: an attempt. Out: yes or no. Not here: the conditions of edges (complete).
"""

from flowcore.engine.assignment import Assignment
from flowcore.errors import ExpressionError
from flowcore.expr.cel import compile_expression

__all__ = ["holds"]


def holds(text: str, work: Assignment) -> bool:
    """Work out an ``if``.

    Raises:
        ExpressionError: It failed on its data, or gave something else than true or false.
    """
    expression = compile_expression(text)
    context = work.upstream.context(expression.node_refs, names=expression.names)
    try:
        found = expression.evaluate(context)
    except ExpressionError as error:
        raise ExpressionError(f"'if' of node {work.name!r}, {text!r}: {error}") from error
    if not isinstance(found, bool):
        msg = f"'if' of node {work.name!r}, {text!r}, gave {found!r} instead of true or false"
        raise ExpressionError(msg)
    return found
