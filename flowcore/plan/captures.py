"""Outer values that the inside of a structured node reads by name.

In: the node's arguments and its body. Out: names. Not here: their values
(engine.child_runs.structured).
"""

from collections.abc import Mapping
from typing import Any

from flowcore.expr.cel import INPUTS, compile_expression
from flowcore.expr.template import compile_template
from flowcore.plan.plan import Plan
from flowcore.plan.policy import Policy, StructuredSpec

__all__ = ["SCOPED", "captured"]

#: Names that mean something else inside of some body than outside.
SCOPED = frozenset({"item", "index", "state", "iteration", "output", "run"})

_OWN: Mapping[str, frozenset[str]] = {
    "map": frozenset({"item", "index"}),
    "loop": frozenset({"state", "iteration", "output"}),
    "epilogue": frozenset({"run", "output"}),
}


def captured(
    params: Mapping[str, Any], body: StructuredSpec
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names that expressions inside read and that are not theirs.

    Args:
        params: The arguments of the node.
        body: What it starts.

    Returns:
        Those that are read as they are, without names that mean something of the body's own, and
        those that are read as ``nodes["name"]``: nodes, whatever they are called.
    """
    own = _OWN.get(body.kind, frozenset())
    reads = _Reads()
    reads.body(params, body)
    return frozenset(reads.bare) - own - {INPUTS}, frozenset(reads.keyed)


class _Reads:
    """Collects names."""

    def __init__(self) -> None:
        self.bare: set[str] = set()
        self.keyed: set[str] = set()

    def template(self, value: Any) -> None:
        template = compile_template(value)
        self.keyed |= template.keyed
        self.bare |= template.bare

    def expression(self, text: str) -> None:
        found = compile_expression(text)
        self.keyed |= found.keyed.keys()
        self.bare |= found.bare.keys()

    def inside(self, params: Mapping[str, Any], body: StructuredSpec) -> None:
        """Collect the outer values that a body inside a body reads."""
        bare, keyed = captured(params, body)
        self.bare |= bare
        self.keyed |= keyed
        self.template([body.over, *body.initial])

    def body(self, params: Mapping[str, Any], body: StructuredSpec) -> None:
        if body.kind == "flow":
            self.template(params)
            return
        if body.kind == "epilogue":
            self._epilogue(body)
        if body.until is not None:
            self.expression(body.until)
        several = body.params or (params,) * len(body.inner)
        for policy, given in zip(body.inner, several, strict=True):
            self._node(policy, given)

    def _epilogue(self, body: StructuredSpec) -> None:
        """The names that parts of an epilogue read: their own nodes' among them, to no harm."""
        for packed in (body.plan, body.last):
            plan = Plan.from_bytes(packed) if packed else None
            for node in range(len(plan) if plan else 0):
                if plan is not None:
                    self._node(plan.policy(node), plan.params[node])

    def _node(self, policy: Policy, given: Mapping[str, Any]) -> None:
        """The names in arguments and keys, and in the condition of a branch."""
        self.template(given)
        for one in (policy.concurrency, policy.rate_limit, policy.circuit_breaker, policy.cache):
            if one is not None and one.key is not None:
                self.template(one.key)
        if policy.idempotency_key is not None:
            self.template(policy.idempotency_key)
        if policy.condition is not None:
            self.expression(policy.condition)
        if policy.body is not None:
            self.inside(given, policy.body)
