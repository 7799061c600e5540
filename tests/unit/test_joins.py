"""Joins: run or skip, and which failures a flow tolerates."""

from itertools import product

import pytest

from flowcore.plan.joins import JoinInput, is_fatal_skip, is_live, is_tolerated, runs
from flowcore.plan.plan import Plan, layers, successors
from flowcore.plan.policy import Policy
from flowcore.run.status import NodeState

SUCCEEDED = JoinInput(state=NodeState.SUCCEEDED)
FAILED = JoinInput(state=NodeState.FAILED)
SKIPPED = JoinInput(state=NodeState.SKIPPED)
CANCELLED = JoinInput(state=NodeState.CANCELLED)
DEAD_SUCCESS = JoinInput(state=NodeState.SUCCEEDED, holds=False)
DEAD_FAILURE = JoinInput(state=NodeState.FAILED, holds=False)
EVERY = (SUCCEEDED, FAILED, SKIPPED, CANCELLED, DEAD_SUCCESS, DEAD_FAILURE)
RULES = ("all_success", "all_done", "any_success", "none_failed")


@pytest.mark.parametrize(
    ("arrivals", "running"),
    [
        ((SUCCEEDED, SUCCEEDED), "all_success all_done any_success none_failed"),
        ((SUCCEEDED, FAILED), "all_done any_success"),
        ((FAILED, FAILED), "all_done"),
        ((SUCCEEDED, SKIPPED), "all_success all_done any_success none_failed"),
        ((SKIPPED, SKIPPED), "all_done none_failed"),
        ((SUCCEEDED, DEAD_SUCCESS), "all_success all_done any_success none_failed"),
        ((DEAD_SUCCESS,), "all_done none_failed"),
        ((SUCCEEDED, DEAD_FAILURE), "all_success all_done any_success none_failed"),
        ((FAILED, DEAD_SUCCESS), "all_done"),
        ((DEAD_FAILURE, SKIPPED), "all_done none_failed"),
        ((CANCELLED,), "all_done none_failed"),
    ],
)
def test_a_join_runs_by_its_rule_over_live_edges(
    arrivals: tuple[JoinInput, ...], running: str
) -> None:
    assert [rule for rule in RULES if runs(rule, arrivals)] == [
        rule for rule in RULES if rule in running.split()
    ]


@pytest.mark.parametrize("rule", RULES)
def test_a_node_without_predecessors_runs(rule: str) -> None:
    assert runs(rule, ())


@pytest.mark.parametrize("rule", RULES)
def test_the_order_of_arrival_does_not_matter(rule: str) -> None:
    for first, second, third in product(EVERY, repeat=3):
        assert runs(rule, (first, second, third)) == runs(rule, (third, first, second))


def test_dead_edges_never_change_anything_once_one_edge_is_live() -> None:
    for rule, live, dead in product(RULES, (SUCCEEDED, FAILED), EVERY):
        if not is_live(dead):
            assert runs(rule, (live,)) == runs(rule, (live, dead))


def test_an_unknown_rule_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown join rule 'most'"):
        runs("most", (SUCCEEDED,))


def test_an_any_success_join_that_hoped_in_vain_fails_the_run() -> None:
    assert is_fatal_skip("any_success", (FAILED, SKIPPED))
    assert not is_fatal_skip("any_success", (SKIPPED, DEAD_FAILURE))
    assert not is_fatal_skip("any_success", (FAILED, SUCCEEDED))
    assert not is_fatal_skip("all_success", (FAILED,))


def _fan(*joins: str) -> Plan:
    """Node 0 before one node of each join."""
    pred = ((), *((0,) for _ in joins))
    return Plan(
        hash="",
        flow="fan",
        version="1",
        ids=tuple(f"n{node}" for node in range(len(pred))),
        params=({},) * len(pred),
        policies=tuple(Policy(uses="passthrough", join=join) for join in ("all_success", *joins)),
        policy_of=tuple(range(len(pred))),
        pred=pred,
        succ=successors(pred),
        when={},
        levels=layers(pred),
        inputs={},
    )


@pytest.mark.parametrize(
    ("joins", "dead", "tolerated"),
    [
        ((), (), False),
        (("all_done",), (), True),
        (("any_success",), (), True),
        (("all_success",), (), False),
        (("none_failed",), (), False),
        (("all_done", "all_success"), (), False),
        (("all_done", "all_success"), (2,), True),
        (("all_done", "all_success"), (1, 2), False),
    ],
)
def test_a_failure_is_tolerated_when_every_live_successor_accepts_it(
    joins: tuple[str, ...], dead: tuple[int, ...], tolerated: bool
) -> None:
    assert is_tolerated(_fan(*joins), 0, dead=frozenset(dead)) is tolerated
