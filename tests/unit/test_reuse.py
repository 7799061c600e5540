"""What of a run is kept when a part of it runs again: true of any web and any end."""

from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from flowcore.plan.plan import Plan
from flowcore.plan.reuse import ResumePoint, after_failure, from_node
from flowcore.run.status import NodeState
from tests.contract.harness import make_plan

S, F, K, C = NodeState.SUCCEEDED, NodeState.FAILED, NodeState.SKIPPED, NodeState.CANCELLED


Ended: TypeAlias = tuple[Plan, list[NodeState], dict[int, frozenset[int]]]


@st.composite
def ended(draw: st.DrawFn) -> Ended:
    size = draw(st.integers(1, 8))
    rules = st.sampled_from(["all_success", "all_done", "any_success", "none_failed"])
    plan = make_plan(
        [
            sorted(draw(st.sets(st.integers(0, at - 1), max_size=3))) if at else []
            for at in range(size)
        ],
        join={at: draw(rules) for at in range(size)},
    )
    states = [draw(st.sampled_from([S, S, F, K, C])) for _ in range(size)]
    dead = {at: frozenset(draw(st.sets(st.sampled_from(s)))) for at, s in enumerate(plan.succ) if s}
    return plan, states, dead


def assert_sound(
    plan: Plan, states: list[NodeState], dead: dict[int, frozenset[int]], it: ResumePoint
) -> None:
    again, kept = set(it.again), set(it.kept(len(plan)))
    assert again | kept == set(range(len(plan)))
    assert not again & kept
    assert all(kept.issuperset(plan.pred[node]) for node in kept), "nothing kept is after the rest"
    assert set(it.starts) == again & set(plan.starts)
    for one in it.reached:
        before = [source for source in plan.pred[one.node] if source in kept]
        live = [states[source] for source in before if one.node not in dead.get(source, ())]
        assert (one.settled, one.succeeded, one.failed) == (
            len(before),
            live.count(S),
            live.count(F),
        )
    assert {one.node for one in it.reached} == {n for n in again if kept & set(plan.pred[n])}


@given(ended())
def test_after_a_failure_nothing_that_was_cancelled_is_kept(run: Ended) -> None:
    plan, states, dead = run
    frontier = after_failure(plan, states, dead)
    assert_sound(plan, states, dead, frontier)
    assert all(states[node] is not C for node in frontier.kept(len(plan)))
    for node in frontier.kept(len(plan)):
        if states[node] is F:
            assert any(states[target] is S for target in plan.succ[node])


@given(ended(), st.integers(0, 7))
def test_from_a_node_on_only_what_was_well_is_kept(run: Ended, at: int) -> None:
    plan, states, dead = run
    node = at % len(plan)
    frontier = from_node(plan, states, dead, node)
    assert_sound(plan, states, dead, frontier)
    assert node in frontier.again
    assert all(states[kept] in {S, K} for kept in frontier.kept(len(plan)))


def test_a_run_that_failed_in_one_branch_keeps_the_other() -> None:
    plan = make_plan([[], [0], [0], [1], [2], [3, 4]])
    frontier = after_failure(plan, [S, S, F, S, C, C], {})
    assert frontier.again == (2, 4, 5)
    assert [one.node for one in frontier.reached] == [2, 5]
