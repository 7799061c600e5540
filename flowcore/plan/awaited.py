"""The signals that the nodes of a plan may wait for, those inside it too.

In: a plan. Out: names, and which node waits for each. Not here: who waits now (the store).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flowcore.expr.template import OPEN
from flowcore.plan.plan import Plan
from flowcore.plan.policy import Policy, StructuredSpec

__all__ = ["Awaited", "awaited"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """A signal that a node waits for when its turn comes."""

    name: str | None
    """None: an expression names it, which nobody knows yet."""
    node: int | None = None
    """The node, if it is one of the plan itself."""
    several: bool = False
    """It is of items or iterations: their number in brackets ends the name."""

    def fits(self, name: str) -> bool:
        """Return whether a signal of this name is for it."""
        if self.several:
            return re.fullmatch(rf"{re.escape(self.name or '')}\[\d+\]", name) is not None
        return self.name is None or self.name == name


def awaited(plan: Plan) -> Iterator[Awaited]:
    """Find what the nodes of a plan wait for; each name may come more than once."""
    wanted = {at for at, policy in enumerate(plan.policies) if _may_wait(policy)}
    for node, at in enumerate(plan.policy_of):
        if at in wanted:
            found = _of_node(plan.policies[at], plan.ids[node], plan.params[node], several=False)
            is_plain = plan.policies[at].body is None
            for name, several in found:
                yield Awaited(name=name, several=several, node=node if is_plain else None)


def _may_wait(policy: Policy) -> bool:
    return policy.body is not None or policy.uses in {"signal", "approval"}


def _of_node(
    policy: Policy, id: str, given: Mapping[str, Any], *, several: bool
) -> Iterator[tuple[str | None, bool]]:
    if policy.body is not None:
        yield from _inside(policy.body, id, given)
    elif policy.uses == "approval":
        yield id.partition("[")[0] if several else id, several
    elif policy.uses == "signal":
        name = given.get("name")
        yield name if isinstance(name, str) and OPEN not in name else None, False


def _inside(
    body: StructuredSpec, id: str, given: Mapping[str, Any]
) -> Iterator[tuple[str | None, bool]]:
    if body.kind in {"map", "loop"}:
        several = body.params or (given,)
        yield from _of_node(body.inner[0], id, several[0], several=True)
        return
    if body.name is not None and not body.plan:
        yield None, False
    for name, policy, params in zip(body.ids, body.inner, body.params, strict=True):
        if body.kind == "epilogue" and policy.uses == "approval":
            yield None, False  # of parts of a node, whose names nobody knows before
        else:
            yield from _of_node(policy, name, params, several=False)
    for packed in filter(None, (body.plan, body.last)):
        for one in awaited(Plan.from_bytes(packed)):
            yield one.name, one.several
