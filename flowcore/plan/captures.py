"""What the inside of a structured node reads of the outside, by name.

In: the node's arguments and its body. Out: names. Not here: their values (engine.spawn).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from flowcore.expr.cel import INPUTS, compile_expression
from flowcore.expr.template import compile_template
from flowcore.plan.plan import Plan
from flowcore.plan.policy import Body, Policy

__all__ = ["captured"]

_OWN: Mapping[str, frozenset[str]] = {
    "map": frozenset({"item", "index"}),
    "loop": frozenset({"state", "iteration", "output"}),
    "epilogue": frozenset({"run", "output"}),
}


def captured(params: Mapping[str, Any], body: Body) -> frozenset[str]:
    """Return the names that expressions inside read and that are not theirs.

    Args:
        params: The arguments of the node.
        body: What it starts.
    """
    own = _OWN.get(body.kind, frozenset())
    return frozenset(_names(params, body)) - own - {INPUTS}


def _names(params: Mapping[str, Any], body: Body) -> Iterator[str]:
    if body.kind == "flow":
        yield from compile_template(params).names
        return
    if body.kind == "epilogue":
        yield from _of_epilogue(body)
    if body.until is not None:
        yield from compile_expression(body.until).names
    several = body.params or (params,) * len(body.inner)
    for policy, given in zip(body.inner, several, strict=True):
        yield from _of_policy(policy)
        yield from compile_template(given).names
        if policy.body is not None:
            yield from captured(given, policy.body)
            yield from compile_template([policy.body.over, *policy.body.initial]).names


def _of_epilogue(body: Body) -> Iterator[str]:
    """The names that parts of an epilogue read: their own nodes' among them, which do no harm."""
    for packed in (body.plan, body.last):
        plan = Plan.from_bytes(packed) if packed else None
        for node in range(len(plan) if plan else 0):
            if plan is not None:
                policy = plan.policy(node)
                yield from compile_template(plan.params[node]).names
                yield from _of_policy(policy)
                if policy.body is not None:
                    yield from captured(plan.params[node], policy.body)
                    yield from compile_template([policy.body.over, policy.body.initial]).names


def _of_policy(policy: Policy) -> Iterator[str]:
    """The names in its keys, and in the condition of a branch."""
    for one in (policy.concurrency, policy.rate_limit, policy.circuit_breaker, policy.cache):
        if one is not None and one.key is not None:
            yield from compile_template(one.key).names
    if policy.idempotency_key is not None:
        yield from compile_template(policy.idempotency_key).names
    if policy.condition is not None:
        yield from compile_expression(policy.condition).names
