"""Evaluation of conditions: a node's ``if``, an edge's ``when``.

In: an expression, and what it can see. Out: yes or no. Not here: what follows (worker.executor,
values.store_writes).
"""

from collections.abc import Mapping

from flowcore.engine.attempts.upstream import Upstream
from flowcore.errors import ExpressionError
from flowcore.expr.cel import compile_expression
from flowcore.plan.plan import Plan

__all__ = ["dead_edges", "holds"]


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


def dead_edges(plan: Plan, node: int, upstream: Upstream, *, state: str) -> tuple[int, ...]:
    """Evaluate the conditions of a node's edges.

    Args:
        plan: The plan.
        node: The node that has just ended.
        upstream: What it could see, with its own output put in.
        state: How it ended, as expressions see it.

    Returns:
        The successors whose edge does not hold.

    Raises:
        ExpressionError: A condition failed on its data, or gave something else than true or false.
    """
    if not plan.when:
        return ()
    dead: list[int] = []
    is_loop = plan.scope == "loop"
    for target in plan.succ[node]:
        text = plan.when.get((node, target))
        if text is None:
            continue
        what = f"condition of edge {plan.ids[node]} -> {plan.ids[target]}"
        if is_loop:
            what = f"'until' of node {plan.label(node)!r}"
        # A loop goes on while its condition does not hold.
        if holds(text, upstream, what=what, node=node, states={node: state}) == is_loop:
            dead.append(target)
    return tuple(dead)
