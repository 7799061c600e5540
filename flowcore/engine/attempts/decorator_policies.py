"""MARKED: what only a worker can know of a node, for its flow was compiled without its function.

In: a plan, one of its nodes. Out: the same plan, in which that node has what its function's
decorator says; where its messages belong. Not here: how definition and decorator are merged
(graph.decorators), flows that were compiled where the functions are (check), sending a message on
(backends).

A node's message is on its way before anybody looks at its function. A worker that finds that the
message belongs on another queue has the node wait, which gives it up unharmed, and sends its next
message there.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from flowcore.check.rules.decorators import function_of
from flowcore.engine.attempts.attempt import AttemptContext
from flowcore.errors import FlowcoreError
from flowcore.graph.decorators import spec_of
from flowcore.graph.flow import NodeDefinition
from flowcore.graph.node_spec import NodeSpec
from flowcore.graph.serialize import spec_keys
from flowcore.nodes.resolve import resolve
from flowcore.plan.plan import Plan
from flowcore.plan.policy import Policy
from flowcore.ports.store import Outcome, Suspension

__all__ = ["MESSAGE", "Marked", "Route", "SentOn"]

_log = logging.getLogger(__name__)

#: A node with a timeout or a limit shares its message with no other: it gets one of its own.
MESSAGE = Suspension(seconds=0.0, resumes=False, reason="waits for a message of its own")

#: Seconds after which a node gets another message, should the one that was sent on not exist.
_UNLESS_WOKEN = 5.0

#: A bound on memory.
_MOST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Queue and priority of a node's messages.

    Attributes:
        queue: The queue; None is the default one.
        priority: Its lane; None is the run's.
    """

    queue: str | None
    priority: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentOn(Suspension):
    """The wait of a node for a message on another queue; it is woken at once.

    Attributes:
        route: Where that is.
    """

    route: Route


class Marked:
    """Plans that this process has completed."""

    def __init__(self) -> None:
        """Know of none yet."""
        self._known: dict[str, Plan] = {}
        self._routes: dict[tuple[str, int], Route] = {}
        self.is_elsewhere: Callable[[str, Policy, Route], bool] = lambda *_: False
        """Whether the message at hand belongs on another queue, which somebody serves: by the run,
        the policy that the node was sent with, and its true route."""

    def route(self, plan: Plan, node: int) -> Route | None:
        """Return the queue for a node's messages; None: the one they are sent to, if known.

        Nothing is imported for it.
        """
        return self._routes.get((plan.hash, plan.policy_of[node]))

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
            policies[at], route = _decided(known.policies[at], plan.params[node])
            known = replace(known, policies=tuple(policies))
            if len(self._known) >= _MOST:
                self._known.clear()
                self._routes.clear()
            self._known[plan.hash] = known
            if route is not None:
                self._routes[plan.hash, at] = route
        return known

    def waits(self, work: AttemptContext, *, alone: bool) -> Outcome | None:
        """Complete the plan of an attempt; have the node wait if its message is not for it.

        Args:
            work: The attempt.
            alone: Its message is for this node only.
        """
        sent = work.plan.policies[work.plan.policy_of[work.node]]
        if sent.own is None:
            return None
        work.plan = self.plan(work.plan, work.node)
        route = self.route(work.plan, work.node)
        is_new = work.resumed is None and work.failure is None
        if is_new and route is not None and self.is_elsewhere(work.run, sent, route):
            where = f"queue {route.queue!r}" if route.queue != sent.queue else "its lane"
            reason = f"is sent on to {where}, as its decorator says"
            wait = SentOn(seconds=_UNLESS_WOKEN, resumes=False, reason=reason, route=route)
            return Outcome(kind="waiting", wait=wait if alone else replace(MESSAGE, reason=reason))
        if work.plan.policy(work.node).alone and not alone:
            return Outcome(kind="waiting", wait=MESSAGE)
        return None


def _decided(policy: Policy, given: Any) -> tuple[Policy, Route | None]:
    uses = function_of(policy.uses, given)
    try:
        spec = _spec(uses) if uses is not None else None
        below = {} if spec is None else spec_keys(spec)
        decided = policy.decided(below)
        return decided, _route(policy, below)
    except (FlowcoreError, ValueError) as error:
        _log.warning("the decorator of %s is left out: %s", policy.uses, error)
        return replace(policy, own=None), None


def _route(policy: Policy, below: dict[str, Any]) -> Route | None:
    """Return the right queue for the node's messages, if they were sent to another one."""
    own = policy.own or {}
    late = {key: below[key] for key in _LATE if key in below and key not in own}
    said = NodeDefinition.model_validate({"uses": policy.uses, **late})
    if "join" in late and said.join != policy.join:
        _log.warning(
            "%s was sent without the 'join: %s' of its decorator, since its flow was compiled "
            "where the function is not imported; write that into the definition",
            policy.uses,
            said.join,
        )
    route = Route(
        queue=said.queue if "queue" in late else policy.queue,
        priority=said.priority if "priority" in late else policy.priority,
    )
    is_there = (route.queue, route.priority) == (policy.queue, policy.priority)
    return None if is_there else route


#: What is decided before a node's message is sent.
_LATE = ("queue", "join", "priority")


def _spec(uses: str) -> NodeSpec | None:
    spec = resolve(uses).spec
    return spec if isinstance(spec, NodeSpec) else spec_of(uses)
