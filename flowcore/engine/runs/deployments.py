"""PIN: what a plan runs by name becomes what that name stands for now.

In: a plan, the registry of deployed flows. Out: a plan that needs no registry. Not here: deploying.

A run is pinned to its plan when it begins: a flow that is deployed meanwhile, be it that of a
sub-flow, changes nothing in it.
"""

from collections.abc import Callable
from dataclasses import replace

from flowcore.errors import UsageError
from flowcore.plan.plan import Plan
from flowcore.plan.policy import Policy, StructuredSpec
from flowcore.ports.flows import DeployedFlow, FlowRegistry

__all__ = ["find_flow", "pinned"]


def find_flow(registry: FlowRegistry, address: str) -> DeployedFlow:
    """Find a deployed flow by ``name`` or ``name@version``.

    Raises:
        UsageError: There is none.
    """
    name, _, version = address.partition("@")
    found = registry.find(name, version or None)
    if found is None:
        known = sorted({one.address if version else one.name for one in registry.flows()})
        there = f"there are {', '.join(known[:10])}" if known else "none is"
        msg = f"no flow {address!r} is deployed ({there}); 'flowcore deploy FILE' deploys one"
        raise UsageError(msg)
    return found


def pinned(plan: Plan, registry: FlowRegistry, get_plan: Callable[[str], Plan]) -> Plan:
    """Put deployed flows in the place of their names, and theirs in turn.

    Args:
        plan: A plan.
        registry: Knows the names.
        get_plan: Reads a plan by its hash.

    Raises:
        UsageError: A name is not deployed, or a flow runs itself.
    """
    return _pinned(plan, registry, get_plan, (plan.flow,))


def _pinned(
    plan: Plan, registry: FlowRegistry, get_plan: Callable[[str], Plan], within: tuple[str, ...]
) -> Plan:
    if not any(_names(policy) for policy in plan.policies):
        return plan

    def sub(name: str) -> bytes:
        found = find_flow(registry, name)
        if found.name in within:
            way = " -> ".join([*within, found.name])
            raise UsageError(f"flow {found.name!r} runs itself as a sub-flow: {way}")
        inner = get_plan(found.plan)
        return _pinned(inner, registry, get_plan, (*within, found.name)).to_bytes()

    policies = tuple(_policy(policy, sub) for policy in plan.policies)
    changed = replace(plan, policies=policies, hash="")
    return replace(changed, hash=changed.digest())


def _names(policy: Policy) -> bool:
    """Return whether something inside is run by name."""
    body = policy.body
    if body is None:
        return False
    own = body.kind == "flow" and not body.plan
    inside = any(map(_names, body.inner))
    packed = [one for one in (body.plan, body.last) if one]
    return own or inside or any(map(_names_in, packed))


def _names_in(packed: bytes) -> bool:
    return any(map(_names, Plan.from_bytes(packed).policies))


def _policy(policy: Policy, sub: Callable[[str], bytes]) -> Policy:
    body = policy.body
    if body is None or not _names(policy):
        return policy
    return replace(policy, body=_body(body, sub))


def _body(body: StructuredSpec, sub: Callable[[str], bytes]) -> StructuredSpec:
    inner = tuple(_policy(policy, sub) for policy in body.inner)
    plan, last = (_packed(one, sub) if one else b"" for one in (body.plan, body.last))
    if body.kind == "flow" and not plan and body.name is not None:
        plan = sub(body.name)
    return replace(body, inner=inner, plan=plan, last=last)


def _packed(packed: bytes, sub: Callable[[str], bytes]) -> bytes:
    plan = Plan.from_bytes(packed)
    changed = replace(plan, policies=tuple(_policy(one, sub) for one in plan.policies), hash="")
    return replace(changed, hash=changed.digest()).to_bytes()
