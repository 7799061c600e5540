"""Work first: what a worker goes on with, and what it publishes."""

import pytest

from flowcore.check.check import check
from flowcore.engine import unit as module
from flowcore.engine.unit import Unit
from flowcore.graph.load import load_tree
from flowcore.plan.compile import compile_plan
from flowcore.plan.plan import Plan
from flowcore.ports.store import Dispatch, Ticket


def _plan(**policies: dict[str, object]) -> Plan:
    nodes: dict[str, dict[str, object]] = {"a": {"uses": "start"}}
    nodes |= {name: {"uses": "end", "needs": ["a"], **policy} for name, policy in policies.items()}
    return compile_plan(check(load_tree({"nodes": nodes})))


def _ready(plan: Plan, *nodes: int) -> Dispatch:
    return Dispatch(
        run="r",
        plan=plan.hash,
        flow=plan.flow,
        namespace="",
        priority=5,
        nodes=tuple((node, 1) for node in nodes),
    )


def _unit(plan: Plan) -> Unit:
    unit = Unit.of(plan, 0)
    assert unit is not None
    return unit


def test_one_node_is_taken_and_the_others_are_published() -> None:
    plan = _plan(b={}, c={}, d={})
    unit = _unit(plan)
    rest = unit.take(_ready(plan, 1, 2, 3), plan)
    assert unit.taken == Ticket(run="r", node=1, attempt=1)
    assert rest is not None
    assert rest.nodes == ((2, 1), (3, 1))


def test_a_sole_successor_leaves_nothing_to_publish() -> None:
    plan = _plan(b={})
    assert _unit(plan).take(_ready(plan, 1), plan) is None


def test_nodes_of_other_queues_or_with_a_time_limit_are_published() -> None:
    plan = _plan(b={"queue": "gpu"}, c={"timeout": 5}, d={})
    unit = _unit(plan)
    rest = unit.take(_ready(plan, 1, 2, 3), plan)
    assert unit.taken is not None
    assert plan.ids[unit.taken.node] == "d"
    assert rest is not None
    assert [plan.ids[node] for node, _ in rest.nodes] == ["b", "c"]


def test_a_node_with_a_time_limit_opens_no_unit() -> None:
    plan = _plan(b={"timeout": 5})
    assert Unit.of(plan, 1) is None


def test_a_unit_whose_time_is_over_publishes_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HAND_BACK", -1.0)
    plan = _plan(b={})
    unit = _unit(plan)
    ready = _ready(plan, 1)
    assert unit.take(ready, plan) == ready
    assert unit.taken is None
