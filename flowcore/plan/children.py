"""The plans of the runs that structured nodes start: the items of a map, a loop, branches.

In: a plan, one of its structured nodes, and how many items or iterations. Out: another plan. Not
here: what these nodes are given (engine.scope), when their runs start (engine.spawn).

A map of 1,000 items is a plan of 1,000 nodes beside each other; a loop is a chain, whose edges hold
while its condition does not. So they run like any other plan: in units, with every policy.
"""

import functools
from dataclasses import replace

from flowcore.plan.plan import Plan, layers, successors
from flowcore.plan.policy import Body

__all__ = ["branches_plan", "flow_plan", "loop_plan", "map_plan", "segment"]

#: Iterations that the first run of a loop can have, and how many times as many each further one.
_FIRST, _GROWTH = 10, 10

#: Iterations of one run.
_MOST = 1000


def map_plan(plan: Plan, node: int, body: Body, count: int) -> Plan:
    """Make the plan of a map: one node for each item (or chunk of them), none after another.

    Args:
        plan: The plan of the map's node.
        node: Its number.
        body: What it says.
        count: Items, or chunks; at least one.
    """
    name = plan.label(node)
    spared = body.tolerated
    return _made(
        plan,
        body,
        ids=tuple(f"{name}[{at}]" for at in range(count)),
        params=(plan.params[node],) * count,
        policy_of=(0,) * count,
        pred=((),) * count,
        max_parallel=body.max_parallel,
        spared=spared if isinstance(spared, int) else int(spared * count),
        scope="map",
    )


def loop_plan(plan: Plan, node: int, body: Body, first: int, count: int) -> Plan:
    """Make the plan of some iterations: a chain that ends early where ``until`` holds.

    Args:
        plan: The plan of the loop's node.
        node: Its number.
        body: What it says.
        first: The first iteration.
        count: How many; see ``segment``.
    """
    name = plan.label(node)
    until = {} if body.until is None else {(at, at + 1): body.until for at in range(count - 1)}
    return _made(
        plan,
        body,
        ids=tuple(f"{name}[{first + at}]" for at in range(count)),
        params=(plan.params[node],) * count,
        policy_of=(0,) * count,
        pred=((), *((at,) for at in range(count - 1))),
        when=until,
        scope="loop",
        first=first,
    )


def segment(body: Body, first: int) -> int:
    """How many iterations from ``first`` on are one run: few, then more, for most loops are short.

    Of a loop that ends early, what is left of its chain is skipped; that costs something, too.
    """
    size = _FIRST
    while size <= first and size < _MOST:
        size *= _GROWTH
    count = min(size, _MOST) - (first if first < _MOST else 0)
    return min(count, body.most - first) if body.most is not None else count


def branches_plan(plan: Plan, body: Body) -> Plan:
    """Make the plan of the branches of a parallel node."""
    count = len(body.ids)
    return _made(
        plan,
        body,
        ids=body.ids,
        params=body.params,
        policy_of=tuple(range(count)),
        pred=((),) * count,
        scope="parallel",
    )


@functools.lru_cache(maxsize=256)
def flow_plan(packed: bytes, timeout: float | None) -> Plan:
    """Read the plan of a sub-flow, whose run may take ``timeout`` seconds, too."""
    plan = Plan.from_bytes(packed)
    limits = [limit for limit in (plan.timeout, timeout) if limit is not None]
    if not limits or min(limits) == plan.timeout:
        return plan
    changed = replace(plan, timeout=min(limits), hash="")
    return replace(changed, hash=changed.digest())


def _made(plan: Plan, body: Body, **fields: object) -> Plan:
    pred: tuple[tuple[int, ...], ...] = fields["pred"]  # type: ignore[assignment]  # as it says
    made = Plan(
        **{  # type: ignore[arg-type]  # each field as its caller has it
            "hash": "",
            "flow": plan.flow,
            "version": plan.version,
            "policies": body.inner,
            "succ": successors(pred),
            "when": {},
            "levels": layers(pred),
            "inputs": {},
            "fail_fast": True,
            "streaming": plan.streaming,
            "buffer_size": plan.buffer_size,
            "memory": plan.memory,
            **fields,
        }
    )
    return replace(made, hash=made.digest())
