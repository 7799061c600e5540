"""RECORD: an attempt has ended; write it down and ring for what became ready.

In: a ticket and its outcome. Out: one call to the store, one to the dispatcher.
"""

from flowcore.engine.unit import Unit
from flowcore.engine.upstream import Upstream
from flowcore.errors import ExpressionError
from flowcore.expr.cel import compile_expression
from flowcore.plan.plan import Plan
from flowcore.ports.dispatcher import Dispatcher
from flowcore.ports.store import Advance, Outcome, RunStore, Ticket

__all__ = ["complete", "dead_edges"]


def complete(
    store: RunStore,
    dispatcher: Dispatcher,
    ticket: Ticket,
    outcome: Outcome,
    *,
    plan: Plan,
    unit: Unit | None = None,
) -> Advance:
    """Settle an attempt and publish what the store recorded as dispatched.

    Args:
        store: The run store.
        dispatcher: Rings for what became ready.
        ticket: The attempt.
        outcome: How it ended.
        plan: Its plan.
        unit: May take one of the nodes that became ready, for this worker to go on with.
    """
    advance = store.settle(ticket, outcome)
    if unit is not None:
        unit.taken = None
    dispatch = advance.dispatch
    if dispatch is not None and unit is not None:
        dispatch = unit.take(dispatch, plan)
    if dispatch is not None:
        dispatcher.publish(dispatch, plan)
    return advance


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
    for target in plan.succ[node]:
        text = plan.when.get((node, target))
        if text is None:
            continue
        expression = compile_expression(text)
        context = upstream.context(
            expression.node_refs, names=expression.names, states={node: state}
        )
        edge = f"{plan.ids[node]} -> {plan.ids[target]}"
        try:
            holds = expression.evaluate(context)
        except ExpressionError as error:
            msg = f"condition of edge {edge}, {text!r}: {error}"
            raise ExpressionError(msg) from error
        if not isinstance(holds, bool):
            msg = f"condition of edge {edge}, {text!r}, gave {holds!r} instead of true or false"
            raise ExpressionError(msg)
        if not holds:
            dead.append(target)
    return tuple(dead)
