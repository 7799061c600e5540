"""Joins, dead paths, failures, limits: what one settled node does to the others."""

import itertools
from collections.abc import Sequence

import pytest

from flowcore.plan.joins import JoinInput, is_fatal_skip, is_tolerated, runs
from flowcore.run.status import NodeState, RunState
from tests.contract.harness import BOOM, LEASES, RUN, Harness, make_plan

DIAMOND = make_plan([[], [0], [0], [1, 2]])
RULES = ("all_success", "all_done", "any_success", "none_failed")


@pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 3])))
def test_a_join_runs_once_whatever_the_order_of_completion(
    it: Harness, order: Sequence[int]
) -> None:
    it.submit(make_plan([[], [0], [0], [0], [1, 2, 3]]))
    it.do(0)
    for node in order:
        it.claim(node)
    dispatched = [it.settle(node).dispatch for node in order]
    assert dispatched[:2] == [None, None]
    assert dispatched[2] is not None
    assert dispatched[2].nodes == ((4, 1),)
    assert it.do(4).finished is RunState.SUCCEEDED
    it.assert_ended_well()


# ── joins: every rule, every combination of how two predecessors may end ────────────────────────

#: How a predecessor ends, as (its own end, whether its edge to the join is dead).
ENDS = {
    "succeeded": (NodeState.SUCCEEDED, False),
    "failed": (NodeState.FAILED, False),
    "skipped": (NodeState.SKIPPED, False),
    "succeeded, edge dead": (NodeState.SUCCEEDED, True),
    "failed, edge dead": (NodeState.FAILED, True),
}

#: Does the join run? By the live predecessors that succeeded and failed (0: none, 1: some).
TABLE = {
    "all_success": {(0, 0): False, (1, 0): True, (0, 1): False, (1, 1): False},
    "all_done": {(0, 0): True, (1, 0): True, (0, 1): True, (1, 1): True},
    "any_success": {(0, 0): False, (1, 0): True, (0, 1): False, (1, 1): True},
    "none_failed": {(0, 0): True, (1, 0): True, (0, 1): False, (1, 1): False},
}


@pytest.mark.parametrize("swapped", [False, True], ids=["in order", "in reverse"])
@pytest.mark.parametrize("fail_fast", [False, True], ids=["keep going", "fail fast"])
@pytest.mark.parametrize("rule", RULES)
def test_joins_follow_the_table(it: Harness, rule: str, *, fail_fast: bool, swapped: bool) -> None:
    # Gates 0 and 1 can skip predecessors 2 and 3 of join 4; node 5 follows the join.
    plan = make_plan([[], [], [0], [1], [2, 3], [4]], join={4: rule}, fail_fast=fail_fast)
    for names in itertools.product(ENDS, repeat=2):
        run = " + ".join(names)
        ends = [ENDS[name] for name in names]
        it.submit(plan, run)
        for gate, (state, _) in enumerate(ends):
            it.do(gate, run=run, dead=(gate + 2,) if state is NodeState.SKIPPED else ())
        _end_predecessors(it, run, ends, swapped=swapped)
        arrivals = [JoinInput(state=state, holds=not dead) for state, dead in ends]
        counts = (
            int((NodeState.SUCCEEDED, False) in ends),
            int((NodeState.FAILED, False) in ends),
        )
        assert runs(rule, arrivals) is TABLE[rule][counts], "the rule as the plan says it"
        untolerated = any(
            state is NodeState.FAILED
            and not is_tolerated(plan, gate + 2, dead=frozenset({4} if dead else ()))
            for gate, (state, dead) in enumerate(ends)
        )
        if not (untolerated and fail_fast):
            assert (it.node(4, run) is NodeState.DISPATCHED) is TABLE[rule][counts], run
            if TABLE[rule][counts]:
                it.do(4, run=run)
                it.do(5, run=run)
        fatal = untolerated or is_fatal_skip(rule, arrivals)
        assert it.state(run) is (RunState.FAILED if fatal else RunState.SUCCEEDED), run
        it.assert_ended_well(run)


def _end_predecessors(
    it: Harness, run: str, ends: Sequence[tuple[NodeState, bool]], *, swapped: bool
) -> None:
    live = [n + 2 for n, (state, _) in enumerate(ends) if state is not NodeState.SKIPPED]
    for node in live:
        assert it.claim(node, run=run)
    for node in reversed(live) if swapped else live:
        state, dead = ends[node - 2]
        cut = (4,) if dead else ()
        assert it.settle(node, run=run, kind=state.value, dead=cut).accepted


def test_an_any_success_join_that_hoped_in_vain_names_the_failure(it: Harness) -> None:
    it.submit(make_plan([[], [], [], [0, 1, 2]], join={3: "any_success"}))
    it.do(1, kind="failed", failure=BOOM)
    it.do(0, dead=(3,))
    assert it.do(2, dead=(3,)).finished is RunState.FAILED
    summary = it.reader.summary(RUN)
    assert summary is not None
    assert summary.error is not None
    assert (summary.error.type, summary.error.node) == ("ValueError", "n1")
    assert it.nodes() == "sfsk"


def test_a_join_that_hoped_in_vain_stops_the_rest_under_fail_fast(it: Harness) -> None:
    # The failure of 0 was tolerated for the sake of join 2; 0 also feeds 3, which accepts it.
    it.submit(make_plan([[], [], [0, 1], [0, 1], []], join={2: "any_success", 3: "all_done"}))
    it.do(0, kind="failed")
    assert it.do(1, dead=(2,)).finished is RunState.FAILED
    assert it.nodes() == "fskcc"
    it.assert_ended_well()


def test_it_names_the_failure_too_when_the_last_way_was_skipped(it: Harness) -> None:
    it.submit(make_plan([[], [0], [], [1, 2]], join={3: "any_success"}))
    it.do(2, kind="failed")
    assert it.do(0, dead=(1,)).finished is RunState.FAILED
    summary = it.reader.summary(RUN)
    assert summary is not None
    assert summary.error is not None
    assert summary.error.node == "n2"


# ── dead paths ──────────────────────────────────────────────────────────────────────────────────


def test_skipping_cascades_through_chains_and_diamonds(it: Harness) -> None:
    #  0 ─┬─ 1 ─ 3 ─┬─ 4 ─┐
    #     │         └─ 5 ─┴─ 6 ─ 7
    #     └─ 2 ─────────────────┘
    it.submit(make_plan([[], [0], [0], [1], [3], [3], [4, 5], [2, 6]]))
    it.do(0, dead=(1,))
    assert it.nodes() == "skdkkkkp"
    skipped = [event.nodes for event in it.log() if event.type == "nodes.skipped"]
    assert skipped == [("n1", "n3", "n4", "n5", "n6")]
    it.do(2)
    it.do(7)
    assert it.state() is RunState.SUCCEEDED
    it.assert_ended_well()


def test_a_run_whose_every_path_died_has_succeeded(it: Harness) -> None:
    it.submit(DIAMOND)
    assert it.do(0, dead=(1, 2)).finished is RunState.SUCCEEDED
    assert it.nodes() == "skkk"
    it.assert_ended_well()


def test_twenty_thousand_skips_in_a_row(it: Harness) -> None:
    it.submit(make_plan([[], *([node] for node in range(20_000))]))
    assert it.do(0, dead=(1,)).finished is RunState.SUCCEEDED
    assert it.nodes() == "s" + "k" * 20_000
    it.assert_ended_well()


@pytest.mark.parametrize("width", [5_000, 9_000])
def test_a_wide_fan_out_and_fan_in(it: Harness, width: int) -> None:
    middle = range(1, width + 1)
    it.submit(make_plan([[], *([0] for _ in middle), list(middle)]))
    advance = it.do(0)
    assert advance.dispatch is not None
    assert advance.dispatch.nodes == tuple((node, 1) for node in middle)
    for node in middle:
        it.do(node)
    claim = it.claim(width + 1, outputs_of=middle)
    assert claim is not None
    assert list(claim.outputs) == list(middle)
    assert it.settle(width + 1).finished is RunState.SUCCEEDED
    it.assert_ended_well()


def test_a_wide_run_is_stopped_whole(it: Harness) -> None:
    it.submit(make_plan([[] for _ in range(9_000)], max_parallel=8_500))
    assert it.store.stop(RUN, reason="test") is RunState.CANCELLED
    assert it.nodes() == "c" * 9_000
    it.assert_ended_well()


# ── failures ────────────────────────────────────────────────────────────────────────────────────


def test_fail_fast_cancels_the_queued_and_waits_for_the_running(it: Harness) -> None:
    it.submit(make_plan([[], [], [], [], [0], [1]]))
    assert it.do(3, kind="retry", delay=9).accepted
    it.claim(0)
    it.claim(1)
    advance = it.settle(0, kind="failed")
    assert (advance.dispatch, advance.finished) == (None, None)
    assert it.nodes() == "fxcccc"
    assert it.state() is RunState.STOPPING
    assert it.claim(2) is None
    late = it.settle(1)
    assert (late.dispatch, late.finished) == (None, RunState.FAILED)
    assert it.nodes() == "fscccc"
    record = it.reader.record(RUN)
    assert record is not None
    assert record.error is not None
    assert record.error.node == "n0"
    it.assert_ended_well()


@pytest.mark.parametrize(
    ("kind", "letter"),
    [("retry", "c"), ("failed", "c"), ("cancelled", "c"), ("lost", "c"), ("succeeded", "s")],
)
def test_what_ends_while_the_run_stops_is_not_tried_again(
    it: Harness, kind: str, letter: str
) -> None:
    it.submit(make_plan([[], []]))
    it.claim(1)
    it.do(0, kind="failed")
    assert it.settle(1, kind=kind).finished is RunState.FAILED
    assert it.nodes() == f"f{letter}"
    it.assert_ended_well()


def test_a_lease_lost_while_the_run_stops_ends_it(it: Harness) -> None:
    it.submit(make_plan([[], []]))
    it.claim(1)
    it.do(0, kind="failed")
    it.advance(LEASES.lease)
    sweep = it.store.sweep()
    assert (sweep.dispatches, sweep.finished) == ((), {RUN: RunState.FAILED})
    it.assert_ended_well()


def test_without_fail_fast_the_rest_goes_on_and_the_run_ends_failed(it: Harness) -> None:
    it.submit(make_plan([[], [], [0], [1], [2, 3]], fail_fast=False))
    it.do(0, kind="failed")
    assert it.nodes() == "fdkpp"
    it.do(1)
    it.do(3)
    assert it.do(4).finished is RunState.FAILED, "over its one live edge the join holds"
    assert it.nodes() == "fskss"
    summary = it.reader.summary(RUN)
    assert summary is not None
    assert summary.error is not None
    assert summary.error.node == "n0"
    it.assert_ended_well()


def test_the_first_of_two_failures_is_the_cause(it: Harness) -> None:
    it.submit(make_plan([[], []], fail_fast=False))
    it.do(1, kind="failed")
    it.do(0, kind="failed")
    summary = it.reader.summary(RUN)
    assert summary is not None
    assert summary.error is not None
    assert summary.error.node == "n1"


def test_a_tolerated_failure_does_not_fail_the_run(it: Harness) -> None:
    it.submit(make_plan([[], [0]], join={1: "all_done"}))
    it.do(0, kind="failed")
    assert it.do(1).finished is RunState.SUCCEEDED
    assert it.nodes() == "fs"
    it.assert_ended_well()
