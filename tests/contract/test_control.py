"""Pausing, resuming, running again, dead letters: what control of a run does to its nodes."""

from collections.abc import Sequence

import msgpack
import pytest

from flowcore.plan.plan import Plan
from flowcore.ports.store import AttemptRef, Dispatch, NewRun, Suspension
from flowcore.ports.unit import BatchSize, CompletedNode, Granularity, UnitProgress, UnitRef
from flowcore.run.record import Origin
from flowcore.run.status import NodeState, RunState
from flowcore.stores.inmemory.runs.run import PLAN_GRACE
from flowcore.stores.redis.runs.store import RedisStore
from tests.contract.harness import LEASES, RUN, Harness, make_plan

CHAIN = make_plan([[], [0], [1]])
DIAMOND = make_plan([[], [0], [0], [1, 2]])


def resume(it: Harness, run: str = RUN, grain: Granularity | None = None) -> Dispatch | None:
    """Resume; it must have been possible."""
    resumed = it.store.resume(run, grain=grain)
    assert resumed is not None
    assert resumed.resumed
    return resumed.dispatch


def nodes_of(dispatch: Dispatch | None) -> Sequence[tuple[int, int]]:
    return dispatch.nodes if dispatch else ()


def rerun(it: Harness, plan: Plan, node: str | None, run: str = "new") -> Dispatch | None:
    origin = Origin(run=RUN, node=node)
    new = NewRun(id=run, plan=plan.hash, input=b"\x80", origin=origin)
    submitted = it.store.submit(new, plan)
    assert submitted.created
    return submitted.dispatch


# ── pause ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("ended", [False, True], ids=["paused", "cancelled"])
def test_an_old_message_of_a_node_gets_nothing_once_the_node_travels_in_a_bundle(
    it: Harness, *, ended: bool
) -> None:
    plan = make_plan([[], [], [0, 1]])
    assert nodes_of(it.submit(plan).dispatch) == ((0, 1), (1, 1))
    if ended:
        it.store.stop(RUN, reason="test")
    else:
        it.store.pause(RUN)
    dispatch = resume(
        it, grain=Granularity(packs={0: BatchSize(cost=0.001, least=9, most=9)}, budget=0)
    )
    assert dispatch is not None
    (bundle,) = dispatch.bundles
    assert it.claim(0) is None, "its message is from before"
    unit = UnitRef(run=RUN, unit=bundle.unit)
    adopted = it.store.adopt(unit, worker="w")
    assert adopted is not None
    assert adopted.nodes == (0, 1)
    assert it.claim(1) is None
    done = [CompletedNode(node, b"\x01", took=1, ago=1) for node in (0, 1, 2)][: 2 if ended else 3]
    advance = it.store.flush(unit, UnitProgress(done=done), plan, worker="w", grain=Granularity())
    if ended:  # a unit of a resumed run does only what it was given
        advance = it.do(2)
    assert advance.finished is RunState.SUCCEEDED
    it.assert_ended_well()


def test_a_paused_run_starts_no_node_until_it_is_resumed(it: Harness) -> None:
    it.submit(make_plan([[], [], [0], [1]]))
    it.claim(0)
    assert it.store.pause(RUN) is RunState.PAUSED
    assert it.store.pause(RUN) is RunState.PAUSED, "twice is once"
    assert it.claim(1) is None, "its message was on the way"
    advance = it.settle(0)
    assert (advance.dispatch, advance.paused) == (None, True)
    assert it.nodes() == "shhp"
    assert it.agenda() == {}, "there is nothing anybody must look at"
    it.advance(3600)
    assert it.store.sweep().dispatches == ()
    assert nodes_of(resume(it)) == ((1, 1), (2, 1))
    assert it.state() is RunState.RUNNING
    it.do(1)
    it.do(2)
    assert it.do(3).finished is RunState.SUCCEEDED
    assert it.told().count("run.paused") == 1
    it.assert_ended_well()


def test_a_run_paused_before_it_began_is_pending_again_after_it(it: Harness) -> None:
    it.submit(CHAIN)
    it.store.pause(RUN)
    assert nodes_of(resume(it)) == ((0, 1),)
    assert it.state() is RunState.PENDING
    claim = it.claim(0)
    assert claim is not None
    assert claim.first


def test_a_retry_that_comes_due_while_the_run_is_paused_is_held(it: Harness) -> None:
    it.submit(make_plan([[]]))
    it.do(0, kind="retry", delay=2)
    it.store.pause(RUN)
    it.advance(2)
    assert it.store.sweep().dispatches == ()
    assert it.node(0) is NodeState.HELD
    assert nodes_of(resume(it)) == ((0, 2),)
    assert it.do(0, 2).finished is RunState.SUCCEEDED


@pytest.mark.parametrize("how", ["lease", "known"])
def test_a_node_of_a_paused_run_that_loses_its_worker_is_held(it: Harness, how: str) -> None:
    it.submit(make_plan([[]]))
    it.claim(0)
    it.store.pause(RUN)
    if how == "known":
        assert it.settle(0, kind="lost").dispatch is None
    else:
        it.advance(LEASES.lease)
        assert it.store.sweep().dispatches == ()
    assert it.node(0) is NodeState.HELD
    assert nodes_of(resume(it)) == ((0, 2),)
    assert it.settle(0, 1).accepted is False, "the worker of the past is not heard"
    assert it.do(0, 2).finished is RunState.SUCCEEDED


def test_max_parallel_holds_across_a_pause_and_order_is_kept(it: Harness) -> None:
    it.submit(make_plan([[] for _ in range(5)], max_parallel=2))
    it.claim(0)
    it.store.pause(RUN)
    it.settle(0)
    assert it.nodes() == "shhhh"
    assert nodes_of(resume(it)) == ((1, 1), (2, 1))
    assert nodes_of(it.do(1).dispatch) == ((3, 1),)


def test_a_paused_run_can_be_cancelled(it: Harness) -> None:
    it.submit(make_plan([[], [], [0]]))
    it.claim(0)
    it.store.pause(RUN)
    assert it.store.stop(RUN, reason="test") is RunState.STOPPING
    assert it.store.pause(RUN) is RunState.STOPPING
    assert it.settle(0, kind="cancelled").finished is RunState.CANCELLED
    it.assert_ended_well()


def test_the_time_limit_goes_on_counting_while_a_run_is_paused(it: Harness) -> None:
    it.submit(make_plan([[], [0]], timeout=10))
    it.do(0)
    it.store.pause(RUN)
    it.advance(10)
    assert it.store.sweep().finished == {RUN: RunState.FAILED}
    assert it.nodes() == "sc"
    it.assert_ended_well()
    resume(it)
    it.advance(9)
    assert it.store.sweep().finished == {}, "resumed, it has its time limit anew"
    it.claim(1)
    it.advance(1)
    it.store.sweep()
    assert it.state() is RunState.STOPPING


def test_a_paused_run_whose_last_node_ends_has_ended(it: Harness) -> None:
    it.submit(make_plan([[]]))
    it.claim(0)
    it.store.pause(RUN)
    assert it.settle(0).finished is RunState.SUCCEEDED
    it.assert_ended_well()


def test_only_what_waits_can_be_paused_or_resumed(it: Harness) -> None:
    assert it.store.pause("nobody") is None
    assert it.store.resume("nobody") is None
    it.submit(make_plan([[]]))
    running = it.store.resume(RUN)
    assert running is not None
    assert (running.resumed, running.state) == (False, RunState.PENDING)
    it.do(0)
    assert it.store.pause(RUN) is RunState.SUCCEEDED
    done = it.store.resume(RUN)
    assert done is not None
    assert (done.resumed, done.state, done.dispatch) == (False, RunState.SUCCEEDED, None)


def test_a_wide_run_is_paused_and_resumed_in_bundles(it: Harness) -> None:
    plan = make_plan([[] for _ in range(9_000)])
    grain = Granularity(packs={0: BatchSize(cost=0.001, least=100, most=100)}, budget=0)
    new = NewRun(id=RUN, plan=plan.hash, input=b"\x80")
    before = it.store.submit(new, plan, grain=grain).dispatch
    assert before is not None
    it.store.pause(RUN)
    assert it.units(RUN) == {}
    assert it.nodes() == "h" * 9_000
    stale = UnitRef(run=RUN, unit=before.bundles[0].unit)
    after = resume(it, grain=grain)
    assert after is not None
    assert len(after.bundles) == 90
    assert it.store.adopt(stale, worker="w") is None, "names of units are never used again"
    fresh = UnitRef(run=RUN, unit=after.bundles[0].unit)
    adopted = it.store.adopt(fresh, worker="w")
    assert adopted is not None
    assert adopted.nodes == tuple(range(100))


def adopted_unit(it: Harness, plan: Plan) -> UnitRef:
    """A unit that owns all starts."""
    grain = Granularity(packs={0: BatchSize(cost=0.001, least=99, most=99)}, budget=0)
    new = NewRun(id=RUN, plan=plan.hash, input=b"\x80")
    dispatch = it.store.submit(new, plan, grain=grain).dispatch
    assert dispatch is not None
    (bundle,) = dispatch.bundles
    unit = UnitRef(run=RUN, unit=bundle.unit)
    assert it.store.adopt(unit, worker="w") is not None
    return unit


def done(*nodes: int) -> list[CompletedNode]:
    return [CompletedNode(node, msgpack.packb(node), 1, 1) for node in nodes]


def test_a_unit_of_a_paused_run_gives_back_what_it_has_not_begun(it: Harness) -> None:
    plan = make_plan([[], [], [], [0], [3]])
    unit = adopted_unit(it, plan)
    it.store.pause(RUN)
    news = UnitProgress(done=done(0, 3), current=1)
    grain = Granularity(packs={0: BatchSize(cost=0.001, here=True)}, budget=1)
    advance = it.store.flush(unit, news, plan, worker="w", grain=grain)
    assert (advance.accepted, advance.paused, advance.kept) == (True, True, (1,))
    assert it.nodes() == "sxhsh"
    last = it.store.flush(unit, UnitProgress(done=done(1)), plan, worker="w", grain=grain)
    assert last.kept == ()
    assert nodes_of(resume(it)) == ((4, 1), (2, 1)), "in the order in which they were held"
    it.do(2)
    assert it.do(4).finished is RunState.SUCCEEDED
    it.assert_ended_well()


def test_what_a_unit_says_again_is_told_once(it: Harness) -> None:
    plan = make_plan([[], [], [], []])
    unit = adopted_unit(it, plan)
    news = UnitProgress(done=done(0), current=1)
    for _ in range(2):
        advance = it.store.flush(unit, news, plan, worker="w", grain=Granularity())
        assert (advance.accepted, advance.kept) == (True, (1, 2, 3))
    assert [(event.type, event.node) for event in it.log() if event.type.startswith("node.")] == [
        ("node.started", "n0"),
        ("node.succeeded", "n0"),
        ("node.started", "n1"),
    ]
    told = CompletedNode(1, b"\x01", took=1, ago=1, told=True)
    assert it.store.flush(
        unit, UnitProgress(done=[told]), plan, worker="w", grain=Granularity()
    ).accepted
    assert it.store.flush(
        unit, UnitProgress(current=2), plan, worker="w", grain=Granularity()
    ).accepted
    assert it.log()[-1].nodes == ("n2",), "the next one is told as ever"
    rest = UnitProgress(done=[CompletedNode(2, b"\x02", 1, 1, told=True), *done(3)])
    assert it.store.flush(unit, rest, plan, worker="w", grain=Granularity()).finished
    it.assert_ended_well()


def test_what_a_unit_has_given_back_can_be_claimed(it: Harness) -> None:
    plan = make_plan([[], []])
    unit = adopted_unit(it, plan)
    advance = it.store.flush(
        unit, UnitProgress(give_back=True), plan, worker="w", grain=Granularity()
    )
    assert nodes_of(advance.dispatch) == ((0, 1), (1, 1))
    it.do(0)
    assert it.do(1).finished is RunState.SUCCEEDED


def test_a_unit_of_a_paused_run_that_is_lost_is_held(it: Harness) -> None:
    plan = make_plan([[], []])
    unit = adopted_unit(it, plan)
    it.store.pause(RUN)
    assert it.store.lose(unit).dispatch is None
    assert it.nodes() == "hh"
    assert nodes_of(resume(it)) == ((0, 2), (1, 2))


# ── resume after an end ─────────────────────────────────────────────────────────────────────────


def test_a_failed_run_goes_on_where_it_failed(it: Harness) -> None:
    it.submit(make_plan([[], [0], [1], [2]]))
    it.do(0)
    it.do(1, kind="failed")
    assert it.nodes() == "sfcc"
    assert it.events.wait(RUN, timeout=0.001)
    assert nodes_of(resume(it)) == ((1, 2),)
    assert it.nodes() == "sdpp"
    assert it.state() is RunState.RUNNING
    assert not it.events.wait(RUN, timeout=0.001), "who waits now waits for the new end"
    summary = it.reader.summary(RUN)
    assert summary is not None
    assert (summary.error, summary.finished, summary.settled) == (None, None, 1)
    claim = it.claim(1, 2, outputs_of=(0,))
    assert claim is not None
    assert claim.outputs == {0: msgpack.packb(0)}
    assert (claim.lost, claim.before) == (0, 1), "attempts before the resume count for nothing"
    assert it.settle(1, 2).resumed
    it.do(2)
    assert it.do(3).finished is RunState.SUCCEEDED
    assert it.events.wait(RUN, timeout=0.001)
    it.assert_ended_well()


def test_a_worker_of_the_past_is_not_heard_after_a_resume(it: Harness) -> None:
    it.submit(make_plan([[], [], [0]]))
    it.claim(0)
    it.claim(1)
    it.settle(1, kind="failed")
    it.advance(LEASES.lease)
    assert it.store.sweep().finished == {RUN: RunState.FAILED}
    assert nodes_of(resume(it)) == ((0, 2), (1, 2))
    assert not it.settle(0, 1).accepted
    assert it.claim(0, 1) is None
    past = AttemptRef(run=RUN, node=0, attempt=1)
    assert it.store.renew([past]) == {past: True}
    it.do(0, 2)
    it.do(1, 2)
    assert it.do(2).finished is RunState.SUCCEEDED


def test_attempts_rise_and_losses_are_counted_anew(it: Harness) -> None:
    it.submit(make_plan([[]]))
    first = 1
    for round_ in range(3):
        for attempt in range(first, first + LEASES.max_lost + 1):
            claim = it.claim(0, attempt)
            assert claim is not None
            assert (claim.lost, claim.before) == (attempt - first, first - 1)
            it.settle(0, attempt, kind="lost")
        assert it.state() is RunState.FAILED
        first += LEASES.max_lost + 1
        assert nodes_of(resume(it)) == ((0, first),), f"round {round_}"
    assert it.do(0, first).finished is RunState.SUCCEEDED
    it.assert_ended_well()


def test_a_cancelled_run_goes_on_with_what_had_not_begun(it: Harness) -> None:
    it.submit(make_plan([[], [], [0], [1]]))
    it.do(0)
    assert it.do(1, kind="retry", delay=9).accepted
    it.claim(2)
    it.store.stop(RUN, reason="test")
    it.settle(2)
    assert it.state() is RunState.CANCELLED
    assert it.nodes() == "scsc"
    assert nodes_of(resume(it)) == ((1, 2),)
    it.do(1, 2)
    assert it.do(3).finished is RunState.SUCCEEDED
    it.assert_ended_well()


def test_a_failure_with_which_a_later_node_has_succeeded_is_kept(it: Harness) -> None:
    plan = make_plan([[], [0], [], [1, 2]], join={1: "all_done"}, fail_fast=False)
    it.submit(plan)
    it.do(0, kind="failed")
    it.do(1)
    it.do(2, kind="failed")
    assert it.nodes() == "fsfk"
    assert nodes_of(resume(it)) == ((2, 2),), "node 1 has succeeded with the failure of 0"
    it.do(2, 2)
    assert it.do(3).finished is RunState.SUCCEEDED
    assert it.nodes() == "fsss"
    it.assert_ended_well()


def test_a_report_on_a_failure_is_made_again(it: Harness) -> None:
    it.submit(make_plan([[], [0], [0, 1]], join={2: "all_done"}, fail_fast=False))
    it.do(0, kind="failed")
    it.do(2)
    assert it.nodes() == "fks"
    assert nodes_of(resume(it)) == ((0, 2),)
    assert it.nodes() == "dpp"
    assert it.reader.outputs(RUN) == {}
    it.do(0, 2)
    it.do(1)
    assert it.claim(2, 1) is None
    assert it.do(2, 2).finished is RunState.SUCCEEDED
    it.assert_ended_well()


def test_edges_that_did_not_hold_are_known_again(it: Harness) -> None:
    #  0 -x-> 1 ─┐
    #  └────> 2 ─┴─> 4 (2 fails);  3 -x-> 4
    it.submit(make_plan([[], [0], [0], [], [1, 2, 3]]))
    it.do(0, dead=(1,))
    it.do(3, dead=(4,))
    it.do(2, kind="failed", dead=(4,))
    assert it.nodes() == "skfsc"
    resume(it)
    assert it.nodes() == "skdsp"
    assert it.do(2, 2, dead=(4,)).finished is RunState.SUCCEEDED
    assert it.nodes() == "skssk"
    it.assert_ended_well()


def test_a_join_that_hoped_in_vain_hopes_again(it: Harness) -> None:
    it.submit(make_plan([[], [], [0, 1], [0]], join={2: "any_success", 3: "all_done"}))
    it.do(0, kind="failed")
    it.do(3)
    it.do(1, kind="failed")
    assert it.state() is RunState.FAILED
    assert nodes_of(resume(it)) == ((0, 2), (1, 2))
    assert it.nodes() == "ddpp"


def test_a_run_that_only_passed_its_time_limit_has_succeeded_when_resumed(it: Harness) -> None:
    it.submit(make_plan([[]], timeout=5))
    it.claim(0)
    it.advance(5)
    it.store.renew([AttemptRef(run=RUN, node=0, attempt=1)])
    it.store.sweep()
    assert it.settle(0).finished is RunState.FAILED
    assert resume(it) is None
    assert it.state() is RunState.SUCCEEDED
    it.assert_ended_well()


def test_a_resumed_run_is_kept_and_forgotten_like_any_other(it: Harness) -> None:
    it.submit(CHAIN)
    it.do(0, kind="failed")
    it.advance(LEASES.retention - 1)
    resume(it)
    it.advance(LEASES.retention + PLAN_GRACE / 1000 + 4000)
    it.store.sweep()
    assert it.state() is RunState.RUNNING, "it waits for a worker, however long"
    assert it.reopened().get_plan(CHAIN.hash) == CHAIN
    it.do(0, 2)
    it.do(1)
    assert it.do(2).finished is RunState.SUCCEEDED
    it.advance(LEASES.retention)
    it.store.sweep()
    it.advance(PLAN_GRACE / 1000)
    assert it.leftovers() == []


def test_a_wide_run_is_resumed_whole(it: Harness) -> None:
    middle = range(1, 5_001)
    it.submit(make_plan([[], *([0] for _ in middle), list(middle)]))
    it.do(0)
    for node in middle[:-1]:
        it.do(node)
    it.do(middle[-1], kind="failed")
    assert nodes_of(resume(it)) == ((middle[-1], 2),)
    assert nodes_of(it.do(middle[-1], 2).dispatch) == ((5_001, 1),)
    it.do(5_001)
    it.assert_ended_well()


def test_units_of_a_resumed_run_know_that_it_is_one(it: Harness) -> None:
    plan = make_plan([[], [], []])
    unit = adopted_unit(it, plan)
    grain = Granularity(packs={0: BatchSize(cost=0.001, least=9, most=9)}, budget=0)
    it.store.stop(RUN, reason="test")
    gone = it.store.flush(unit, UnitProgress(), plan, worker="w", grain=Granularity())
    assert gone.finished is RunState.CANCELLED
    again = resume(it, grain=grain)
    assert again is not None
    assert again.nodes == (), "nobody had begun them, so they travel together again"
    (bundle,) = again.bundles
    adopted = it.store.adopt(UnitRef(run=RUN, unit=bundle.unit), worker="w")
    assert adopted is not None
    assert adopted.resumed
    assert not it.store.flush(
        unit, UnitProgress(done=done(0)), plan, worker="w", grain=Granularity()
    ).accepted


# ── rerun ───────────────────────────────────────────────────────────────────────────────────────


def test_a_rerun_takes_over_what_is_not_after_its_start(it: Harness) -> None:
    it.submit(DIAMOND)
    for node in range(4):
        it.do(node)
    assert nodes_of(rerun(it, DIAMOND, "n1")) == ((1, 1),)
    assert it.nodes("new") == "sdsp"
    assert it.reader.outputs("new") == {0: msgpack.packb(0), 2: msgpack.packb(2)}
    it.do(1, run="new")
    assert it.do(3, run="new").finished is RunState.SUCCEEDED
    assert it.told("new")[:3] == ["run.created", "nodes.reused", "nodes.dispatched"]
    summary = it.reader.summary("new")
    assert summary is not None
    assert summary.origin == Origin(run=RUN, node="n1")
    it.assert_ended_well("new")
    assert it.nodes() == "ssss", "the old run stays as it is"


def test_a_rerun_runs_what_had_not_succeeded_too(it: Harness) -> None:
    it.submit(make_plan([[], [], [0], [2]], fail_fast=False))
    it.do(1, kind="failed")
    it.do(0)
    it.do(2)
    it.do(3)
    plan = make_plan([[], [], [0], [2]], fail_fast=False)
    assert nodes_of(rerun(it, plan, "n3")) == ((1, 1), (3, 1))
    assert it.nodes("new") == "sdsd"


def test_a_rerun_keeps_skips_and_edges_that_did_not_hold(it: Harness) -> None:
    plan = make_plan([[], [0], [0], [1, 2]], join={3: "none_failed"})
    it.submit(plan)
    it.do(0, dead=(1,))
    it.do(2, dead=(3,))
    it.do(3)
    assert nodes_of(rerun(it, plan, "n3")) == ((3, 1),)
    assert it.nodes("new") == "sksd"
    it.do(3, run="new")
    it.assert_ended_well("new")


def test_a_rerun_of_a_rerun_knows_edges_that_did_not_hold(it: Harness) -> None:
    plan = make_plan([[], [0], [1]])
    it.submit(plan)
    it.do(0)
    it.do(1, dead=(2,))
    assert rerun(it, plan, "n2") is None
    origin = Origin(run="new", node="n2")
    it.store.submit(NewRun(id="third", plan=plan.hash, input=b"\x80", origin=origin), plan)
    assert (it.nodes("third"), it.state("third")) == ("ssk", RunState.SUCCEEDED)


def test_a_rerun_from_a_skipped_node_ends_at_once(it: Harness) -> None:
    plan = make_plan([[], [0]])
    it.submit(plan)
    it.do(0, dead=(1,))
    assert rerun(it, plan, "n1") is None
    assert it.state("new") is RunState.SUCCEEDED
    it.assert_ended_well("new")


def test_a_rerun_without_a_start_runs_everything(it: Harness) -> None:
    it.submit(CHAIN)
    it.do(0)
    assert nodes_of(rerun(it, CHAIN, None)) == ((0, 1),)
    summary = it.reader.summary("new")
    assert summary is not None
    assert summary.origin == Origin(run=RUN)


def test_a_rerun_of_an_unknown_run_is_refused_and_the_same_id_is_one_run(it: Harness) -> None:
    it.store.put_plan(CHAIN)
    with pytest.raises(KeyError):
        rerun(it, CHAIN, "n1")
    it.submit(CHAIN)
    rerun(it, CHAIN, "n1")
    again = it.store.submit(
        NewRun(id="new", plan=CHAIN.hash, input=b"\x80", origin=Origin(run=RUN, node="n1")), CHAIN
    )
    assert (again.created, again.dispatch) == (False, None)


def test_a_wide_rerun_copies_every_output(it: Harness) -> None:
    middle = range(1, 3_001)
    plan = make_plan([[], *([0] for _ in middle), list(middle)])
    it.submit(plan)
    for node in range(3_002):
        it.do(node)
    assert nodes_of(rerun(it, plan, "n3001")) == ((3_001, 1),)
    assert len(it.reader.outputs("new")) == 3_001
    assert it.do(3_001, run="new").finished is RunState.SUCCEEDED


# ── dead letters ────────────────────────────────────────────────────────────────────────────────


def lose_for_good(it: Harness, node: int, run: str = RUN) -> None:
    for attempt in range(1, LEASES.max_lost + 2):
        it.do(node, attempt, run=run, kind="lost")


def test_dead_letters_are_listed_until_their_run_is_resumed(it: Harness) -> None:
    it.submit(make_plan([[], []], fail_fast=False))
    it.submit(CHAIN, "other")
    assert it.reader.dead_letters() == []
    lose_for_good(it, 1)
    it.advance(1)
    lose_for_good(it, 0, "other")
    it.do(0, kind="failed")
    found = it.reader.dead_letters()
    assert [(one.run, one.node) for one in found] == [("other", "n0"), (RUN, "n1")]
    assert found[0].time == found[1].time + 1
    assert (found[0].flow, found[0].failure.type) == ("flow", "ValueError"), "the reason it gave"
    assert it.reader.dead_letters(limit=1) == found[:1]
    resume(it)
    assert [one.run for one in it.reader.dead_letters()] == ["other"]


def test_a_dead_letter_goes_with_its_run(it: Harness) -> None:
    it.submit(make_plan([[]]))
    lose_for_good(it, 0)
    it.advance(LEASES.retention)
    it.store.sweep()
    assert it.reader.dead_letters() == []
    it.advance(PLAN_GRACE / 1000)
    assert it.leftovers() == []


# ── nodes that wait ─────────────────────────────────────────────────────────────────────────────


def test_a_signal_reaches_a_paused_run_and_its_node_is_held(it: Harness) -> None:
    it.submit(make_plan([[], []]))
    assert it.do(0, kind="waiting", wait=Suspension(signal="go"), failure=None).accepted
    assert it.do(1, kind="waiting", wait=Suspension(seconds=5), failure=None).accepted
    it.store.pause(RUN)
    advance = it.store.signal(RUN, "go", msgpack.packb({"by": "ada"}))
    assert advance is not None
    assert advance.accepted
    it.advance(5)
    it.store.sweep()
    assert it.nodes() == "hh"
    assert nodes_of(resume(it)) == ((0, 1), (1, 1))
    claim = it.claim(0)
    assert claim is not None
    assert claim.resumed == msgpack.packb({"by": "ada"})


def test_a_node_that_waited_in_a_cancelled_run_waits_anew_when_it_is_resumed(it: Harness) -> None:
    it.submit(make_plan([[]]))
    it.do(0, kind="waiting", wait=Suspension(signal="go"), failure=None)
    it.store.stop(RUN, reason="test")
    ((node, attempt),) = nodes_of(resume(it))
    it.do(node, attempt, kind="waiting", wait=Suspension(signal="go"), failure=None)
    advance = it.store.signal(RUN, "go", b"\x01")
    assert advance is not None
    assert nodes_of(advance.dispatch) == ((0, attempt),)
    it.do(node, attempt)
    it.assert_ended_well()


def test_a_plan_that_two_put_at_once_expires_with_its_web(
    it: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not isinstance(it.store, RedisStore):
        pytest.skip("a matter of keys")
    client, plan = it.store.client, make_plan([[], [0]])
    it.submit(plan)
    it.do(0)
    it.do(1)
    monkeypatch.setattr(client, "exists", lambda *_: 0)  # asked before the other had put it
    it.store.put_plan(plan)
    kept = {name: client.pttl(f"fc:{name}:{plan.hash}") for name in ("plan", "web")}
    assert all(left > 0 for left in kept.values()), kept
