"""How much work belongs together."""

import pytest

from flowcore.check.check import check
from flowcore.engine.runs.granularity import GRAIN, DurationEstimates
from flowcore.graph.load import load_tree
from flowcore.plan.compile import compile_plan
from flowcore.plan.plan import Plan
from flowcore.ports.unit import BatchSize, Granularity


def _plan(**nodes: dict[str, object]) -> Plan:
    return compile_plan(check(load_tree({"nodes": nodes})))


ONE = _plan(a={"uses": "start"})


def _pack(estimates: DurationEstimates, slots: int = 2) -> BatchSize:
    return estimates.grain(ONE, queue=None, slots=slots).packs[0]


def _knowing(seconds: float) -> DurationEstimates:
    estimates = DurationEstimates()
    for _ in range(100):
        estimates.note("start", seconds)
    return estimates


def test_very_short_nodes_travel_by_the_hundred() -> None:
    pack = _pack(_knowing(0.00002))
    assert pack.least == pytest.approx(GRAIN / 0.00002, rel=0.02)
    assert pack.here


def test_long_nodes_travel_one_by_one() -> None:
    pack = _pack(_knowing(2.0))
    assert (pack.least, pack.most) == (1, 1)
    assert pack.here, "but the worker that made one ready goes on with it"


def test_nodes_of_some_milliseconds_share_a_message_only_where_there_is_plenty() -> None:
    pack = _pack(_knowing(0.01))
    assert (pack.least, pack.most) == (1, 5)


def test_nodes_that_nobody_knows_share_a_message_where_there_is_plenty() -> None:
    pack = _pack(DurationEstimates())
    assert pack.least == 1
    assert pack.most > 100


def test_a_share_gives_every_slot_several_turns() -> None:
    assert DurationEstimates().grain(ONE, queue=None, slots=8).share == 32


def test_a_unit_with_work_keeps_less() -> None:
    estimates = DurationEstimates()
    assert estimates.grain(ONE, queue=None, slots=1).budget == GRAIN
    assert estimates.grain(ONE, queue=None, slots=1, spent=0.004).budget == pytest.approx(0.001)
    assert estimates.grain(ONE, queue=None, slots=1, spent=9.0).budget == 0


def test_the_first_of_its_kind_which_imports_the_module_is_not_counted() -> None:
    estimates = DurationEstimates()
    estimates.note("start", 3.0)
    assert estimates.cost("start") is None
    estimates.note("start", 0.001)
    assert estimates.cost("start") == 0.001


def test_an_estimate_follows_what_nodes_take() -> None:
    estimates = _knowing(0.0001)
    for _ in range(100):
        estimates.note("start", 0.02)
    assert estimates.cost("start") == pytest.approx(0.02, rel=0.01)


def test_nodes_of_other_queues_are_not_kept_but_may_travel_together() -> None:
    plan = _plan(a={"uses": "start"}, b={"uses": "end", "needs": ["a"], "queue": "gpu"})
    grain = DurationEstimates().grain(plan, queue=None, slots=1)
    here = {plan.policies[policy].queue: pack.here for policy, pack in grain.packs.items()}
    assert here == {None: True, "gpu": False}


def test_a_node_with_a_time_limit_travels_by_itself() -> None:
    plan = _plan(a={"uses": "start", "timeout": 5})
    assert DurationEstimates().grain(plan, queue=None, slots=1).packs == Granularity().packs
