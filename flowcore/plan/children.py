"""The plans of the runs that structured nodes start: the items of a map, a loop, branches.

In: a plan, one of its structured nodes, and how many items or iterations. Out: another plan. Not
here: what these nodes are given (engine.attempts.scope), when their runs start
(engine.child_runs.structured).

A map of 1,000 items is a plan of 1,000 nodes beside each other; a loop is a chain, whose edges hold
while its condition does not. So they run like any other plan: in units, with every policy.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from flowcore.graph.policy import Concurrency
from flowcore.plan.plan import Plan, layers, successors
from flowcore.plan.policy import Policy, StructuredSpec

__all__ = [
    "branches_plan",
    "end_plan",
    "epilogue_plan",
    "flow_plan",
    "loop_plan",
    "map_plan",
    "segment",
]

#: Iterations that the first run of a loop can have, and how many times as many each further one.
_FIRST, _GROWTH = 50, 20

#: Iterations of one run.
_MOST = 1000


def map_plan(
    plan: Plan, node: int, body: StructuredSpec, count: int, *, first: int = 0, limit: str = ""
) -> Plan:
    """Make the plan of a map: one node for each item (or chunk of them), none after another.

    Args:
        plan: The plan of the map's node.
        node: Its number.
        body: What it says.
        count: Items, or chunks; at least one.
        first: The number of the first of them, if there are others before.
        limit: Names the limit that ``max_parallel`` is, if there are other plans of the same map.
    """
    name = plan.label(node)
    spared = body.tolerated if isinstance(body.tolerated, int) else int(body.tolerated * count)
    (given,) = body.params or (plan.params[node],)
    if body.source:
        spared = spared if isinstance(body.tolerated, int) else count
        body = _limited(body, limit)
    return _made(
        plan,
        body,
        ids=tuple(f"{name}[{first + at}]" for at in range(count)),
        params=(given,) * count,
        policy_of=(0,) * count,
        pred=((),) * count,
        max_parallel=None if body.source else body.max_parallel,
        spared=spared,
        scope="map",
        first=first,
    )


def _limited(body: StructuredSpec, limit: str) -> StructuredSpec:
    """Have ``max_parallel`` hold for several plans together."""
    if body.max_parallel is None:
        return body
    (inner,) = body.inner
    places = Concurrency(limit=body.max_parallel, name=limit)
    return replace(body, inner=(replace(inner, concurrency=places, keeps_place=True),))


def end_plan(plan: Plan, node: int, body: StructuredSpec) -> Plan:
    """Make the plan of a run that says that a map has all its items: it does nothing else."""
    nothing = replace(body, inner=(Policy(uses="end", queue=body.inner[0].queue),))
    return _made(
        plan,
        nothing,
        ids=(f"{plan.label(node)}[end]",),
        params=({},),
        policy_of=(0,),
        pred=((),),
        scope="parallel",
    )


def loop_plan(plan: Plan, node: int, body: StructuredSpec, first: int, count: int) -> Plan:
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


def segment(body: StructuredSpec, first: int) -> int:
    """Return the number of iterations from ``first`` in one run: few, then more; loops are short.

    Of a loop that ends early, what is left of its chain is skipped; that costs something, too.
    """
    if body.until is None and body.most is not None:
        return min(body.most - first, _MOST)
    size = _FIRST
    while size <= first and size < _MOST:
        size *= _GROWTH
    count = min(size, _MOST) - (first if first < _MOST else 0)
    return min(count, body.most - first) if body.most is not None else count


def branches_plan(plan: Plan, node: int, body: StructuredSpec) -> Plan:
    """Make the plan of the branches of a parallel node, whose time is that of all of them."""
    count = len(body.ids)
    return _made(
        plan,
        body,
        ids=body.ids,
        params=body.params,
        policy_of=tuple(range(count)),
        pred=((),) * count,
        timeout=plan.policy(node).timeout,
        scope="parallel",
    )


def epilogue_plan(
    plan: Plan, body: StructuredSpec, undone: Sequence[tuple[str, str]], *, failed: bool
) -> Plan | None:
    """Make the plan of what runs at the end: first what undoes nodes, one after the other.

    Each of them has its turn, whatever became of the one before; so has each part.

    Args:
        plan: The plan of the run that ends.
        body: What its epilogue says.
        undone: What to undo, in the order in which that is to happen: the part of a node, or
            the node, and the node that says how.
        failed: Whether the run has failed.

    Returns:
        None when there is nothing to do.
    """
    builder = _Chained()
    numbers = {name: at for at, name in enumerate(body.ids)}
    for label, name in undone:
        at = numbers[name]
        builder.add(f"undo {label}", body.params[at], body.inner[at])
    for packed in (body.plan if failed else b"", body.last):
        if packed:
            builder.append(Plan.from_bytes(packed))
    if not builder.ids:
        return None
    return _made(
        plan,
        replace(body, inner=tuple(builder.policies)),
        ids=tuple(builder.ids),
        params=tuple(builder.params),
        policy_of=tuple(range(len(builder.ids))),
        pred=tuple(builder.pred),
        when=builder.when,
        fail_fast=False,
        scope="epilogue",
        first=len(undone),
    )


class _Chained:
    """Plans one after the other, each of which begins whatever became of the one before."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.params: list[Mapping[str, Any]] = []
        self.policies: list[Policy] = []
        self.pred: list[tuple[int, ...]] = []
        self.when: dict[tuple[int, int], str] = {}
        self._last: tuple[int, ...] = ()

    def add(self, id: str, params: Mapping[str, Any], policy: Policy) -> None:
        """Add one node after all that there is."""
        self._node(id, params, policy, ())
        self._last = (len(self.ids) - 1,)

    def append(self, plan: Plan) -> None:
        """Add a plan after all that there is."""
        base = len(self.ids)
        for node, id in enumerate(plan.ids):
            before = tuple(base + source for source in plan.pred[node])
            self._node(id, plan.params[node], plan.policy(node), before)
        self.when |= {(base + a, base + b): text for (a, b), text in plan.when.items()}
        self._last = tuple(base + sink for sink in plan.sinks)

    def _node(
        self, id: str, params: Mapping[str, Any], policy: Policy, before: tuple[int, ...]
    ) -> None:
        self.ids.append(id)
        self.params.append(params)
        starts = not before
        self.policies.append(replace(policy, join="all_done") if starts else policy)
        self.pred.append(self._last if starts else before)


@functools.lru_cache(maxsize=256)
def flow_plan(packed: bytes, timeout: float | None) -> Plan:
    """Read the plan of a sub-flow, whose run may take ``timeout`` seconds, too."""
    plan = Plan.from_bytes(packed)
    limits = [limit for limit in (plan.timeout, timeout) if limit is not None]
    if not limits or min(limits) == plan.timeout:
        return plan
    changed = replace(plan, timeout=min(limits), hash="")
    return replace(changed, hash=changed.digest())


def _made(plan: Plan, body: StructuredSpec, **fields: object) -> Plan:
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
            "fail_fast": plan.fail_fast or fields["scope"] == "loop",
            "streaming": plan.streaming,
            "buffer_size": plan.buffer_size,
            "memory": plan.memory,
            **fields,
        }
    )
    return replace(made, hash=made.digest())
