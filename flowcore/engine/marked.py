"""MARKED: what only a worker can know of a node, for its flow was compiled without its function.

In: a plan, one of its nodes. Out: the same plan, in which that node has what its function's
decorator says. Not here: how definition and decorator are merged (graph.marks), flows that were
compiled where the functions are (check).
"""

import logging
from dataclasses import replace
from typing import Any

from flowcore.check.rules_marks import function_of
from flowcore.engine.assignment import Assignment
from flowcore.errors import FlowcoreError
from flowcore.graph.marks import spec_of
from flowcore.graph.spec import NodeSpec
from flowcore.graph.written import spec_keys
from flowcore.nodes.resolve import resolve
from flowcore.plan.plan import Plan
from flowcore.plan.policy import Policy
from flowcore.ports.store import Wait

__all__ = ["MESSAGE", "Marked"]

_log = logging.getLogger(__name__)

#: A node with a timeout or a limit shares its message with no other: it gets one of its own.
MESSAGE = Wait(seconds=0.0, resumes=False, reason="waits for a message of its own")

#: A bound on memory.
_MOST = 1000


class Marked:
    """Plans that this process has completed."""

    def __init__(self) -> None:
        """Know of none yet."""
        self._known: dict[str, Plan] = {}

    def plan(self, plan: Plan, node: int) -> Plan:
        """Return the plan with all that is known of a node; its function is imported for that.

        A function that cannot be found is none of this: its attempt tells.
        """
        at = plan.policy_of[node]
        if plan.policies[at].own is None:
            return plan
        known = self._known.get(plan.hash, plan)
        if known.policies[at].own is not None:
            policies = list(known.policies)
            policies[at] = _decided(known.policies[at], plan.params[node])
            known = replace(known, policies=tuple(policies))
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[plan.hash] = known
        return known

    def moves(self, work: Assignment) -> bool:
        """Complete the plan of an attempt; say whether its node has to have a message to itself."""
        if work.plan.policies[work.plan.policy_of[work.node]].own is None:
            return False
        work.plan = self.plan(work.plan, work.node)
        return work.plan.policy(work.node).alone


def _decided(policy: Policy, given: Any) -> Policy:
    uses = function_of(policy.uses, given)
    try:
        spec = _spec(uses) if uses is not None else None
        below = {} if spec is None else spec_keys(spec)
        _tell(policy, below)
        return policy.decided(below)
    except (FlowcoreError, ValueError) as error:
        _log.warning("the decorator of %s is left out: %s", policy.uses, error)
        return replace(policy, own=None)


def _spec(uses: str) -> NodeSpec | None:
    spec = resolve(uses).spec
    return spec if isinstance(spec, NodeSpec) else spec_of(uses)


def _tell(policy: Policy, below: dict[str, Any]) -> None:
    """Say what came too late."""
    own = policy.own or {}
    late = [
        f"{key}: {below[key]}"
        for key in ("queue", "join", "priority")
        if key in below and key not in own
    ]
    if late:
        _log.warning(
            "%s was sent without what its decorator says (%s), since its flow was compiled where "
            "the function is not imported; write that into the definition",
            policy.uses,
            ", ".join(late),
        )
