"""Submitting, claiming, settling, retrying and losing: one node at a time."""

import threading

import msgpack
import pytest

from flowcore.plan.plan import Plan
from flowcore.ports.store import AppendResult, AttemptRef, Transition
from flowcore.run.record import Failure
from flowcore.run.status import NodeState, RunState
from tests.contract.harness import LEASES, RUN, Harness, make_plan

ONE = make_plan([[]])
CHAIN = make_plan([[], [0]])
FAN = make_plan([[], [0], [0], [0], [1, 2, 3]])


def test_submit_dispatches_the_starts(it: Harness) -> None:
    submitted = it.submit(make_plan([[], [], [0, 1]]), namespace="ns")
    assert submitted.created
    assert submitted.state is RunState.PENDING
    assert submitted.dispatch is not None
    assert submitted.dispatch.nodes == ((0, 1), (1, 1))
    assert (submitted.dispatch.run, submitted.dispatch.namespace) == (RUN, "ns")
    assert it.nodes() == "ddp"
    assert it.told() == ["run.created", "nodes.dispatched"]


def test_submit_is_idempotent_by_id(it: Harness) -> None:
    it.submit(ONE)
    it.do(0)
    again = it.submit(CHAIN)
    assert (again.created, again.state, again.dispatch) == (False, RunState.SUCCEEDED, None)
    assert it.nodes() == "s"


def test_the_starts_of_a_submit_whose_answer_was_lost_are_swept_up(it: Harness) -> None:
    it.submit(FAN)
    assert it.submit(FAN).dispatch is None
    it.advance(LEASES.dispatch)
    ((dispatch, late),) = it.store.sweep().overdue
    assert (dispatch.nodes, late) == (((0, 1),), 1)


def test_only_the_exact_attempt_is_claimed_and_only_once(it: Harness) -> None:
    it.submit(ONE)
    assert it.claim(0, 2) is None
    assert it.claim(0, 0) is None
    claim = it.claim(0, 1)
    assert claim is not None
    assert (claim.first, claim.lost, claim.outputs) == (True, 0, {})
    assert it.claim(0, 1) is None
    assert it.claim(0, 2) is None
    assert it.told().count("node.started") == 1


def test_of_many_threads_one_gets_the_claim(it: Harness) -> None:
    it.submit(ONE)
    claims = []
    barrier = threading.Barrier(8)

    def take() -> None:
        barrier.wait()
        claims.append(it.claim(0))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(claim is not None for claim in claims) == 1


@pytest.mark.parametrize("node", [-1, 1, 99])
def test_a_node_outside_the_plan_is_refused(it: Harness, node: int) -> None:
    it.submit(ONE)
    assert it.claim(node) is None
    assert it.claim(0) is not None
    assert not it.settle(node).accepted
    assert it.say(AttemptRef(run=RUN, node=node, attempt=1), {}) is AppendResult.STALE


def test_a_pending_node_cannot_be_claimed(it: Harness) -> None:
    it.submit(CHAIN)
    assert it.claim(1) is None
    assert not it.settle(1).accepted


def test_nothing_can_be_done_to_an_unknown_run(it: Harness) -> None:
    ticket = AttemptRef(run="nobody", node=0, attempt=1)
    assert it.claim(0, run="nobody") is None
    assert it.settle(0, run="nobody") == Transition(accepted=False)
    assert it.store.renew([ticket]) == {ticket: True}
    assert it.store.stop("nobody", reason="test") is None
    assert it.say(ticket, {}) is AppendResult.STALE
    assert it.events.read("nobody") in ([], ())
    assert it.reader.record("nobody") is None
    assert it.reader.summary("nobody") is None
    assert it.reader.outputs("nobody") == {}
    assert it.reader.states("nobody", [0]) == {}
    with pytest.raises(KeyError):
        it.reader.input("nobody")
    with pytest.raises(KeyError):
        it.store.get_plan("none")


def test_a_claim_brings_the_outputs_that_exist(it: Harness) -> None:
    it.submit(make_plan([[], [], [0, 1]], join={2: "any_success"}))
    it.do(0, output=msgpack.packb("zero"))
    it.do(1, kind="failed")
    claim = it.claim(2, outputs_of=(0, 1))
    assert claim is not None
    assert claim.outputs == {0: msgpack.packb("zero")}


def test_an_attempt_settles_once(it: Harness) -> None:
    it.submit(CHAIN)
    assert it.do(0, output=b"\x01").accepted
    assert it.settle(0, output=b"\x02") == Transition(accepted=False)
    assert it.settle(0, kind="failed") == Transition(accepted=False)
    assert it.reader.outputs(RUN) == {0: b"\x01"}
    assert it.nodes() == "sd"


def test_an_unclaimed_node_cannot_settle(it: Harness) -> None:
    it.submit(ONE)
    assert not it.settle(0).accepted
    assert it.nodes() == "d"


def test_doubling_every_message_neither_publishes_nor_finishes_twice(it: Harness) -> None:
    submitted = it.submit(FAN)
    assert submitted.dispatch is not None
    queue = [*submitted.dispatch.nodes] * 2
    published, finished = list(submitted.dispatch.nodes), []
    while queue:
        node, attempt = queue.pop(0)
        it.claim(node, attempt)
        for advance in (it.settle(node, attempt), it.settle(node, attempt)):
            if advance.finished:
                finished.append(advance.finished)
            if advance.dispatch:
                published += advance.dispatch.nodes
                queue += [*advance.dispatch.nodes] * 2
    assert sorted(published) == [(node, 1) for node in range(5)]
    assert finished == [RunState.SUCCEEDED]
    it.assert_ended_well()


def test_siblings_of_a_completion_whose_answer_was_lost_all_come_back(it: Harness) -> None:
    it.submit(FAN)
    it.do(0)  # the worker dies before it publishes anything
    assert it.nodes() == "sdddp"
    assert it.store.sweep().overdue == ()
    it.advance(LEASES.dispatch)
    overdue = it.store.sweep().overdue
    assert [dispatch.nodes for dispatch, _ in overdue] == [((1, 1),), ((2, 1),), ((3, 1),)]


def test_a_dispatch_nobody_claims_comes_back_ever_more_rarely(it: Harness) -> None:
    it.submit(ONE)
    waits = []
    for _ in range(8):
        ahead = it.store.sweep().next_due
        assert ahead is not None
        waits.append(ahead)
        it.advance(ahead)
        ((dispatch, late),) = it.store.sweep().overdue
        assert (dispatch.nodes, late) == (((0, 1),), len(waits))
    assert waits == [5, 10, 20, 40, 80, 160, 320, 320]
    assert it.claim(0) is not None
    it.advance(LEASES.lease)
    it.store.sweep()
    it.advance(LEASES.dispatch)
    ((dispatch, late),) = it.store.sweep().overdue
    assert (dispatch.nodes, late) == (((0, 2),), 1), "a new attempt is not late yet"


def test_nothing_is_dispatched_again_while_its_lease_lives(it: Harness) -> None:
    it.submit(ONE)
    it.claim(0)
    it.advance(LEASES.lease - 0.001)
    assert it.store.sweep().dispatches == ()
    it.advance(0.001)
    (dispatch,) = it.store.sweep().dispatches
    assert dispatch.nodes == ((0, 2),)
    assert it.store.sweep().dispatches == ()


def test_renewing_keeps_a_lease(it: Harness) -> None:
    it.submit(ONE)
    it.claim(0)
    ticket = AttemptRef(run=RUN, node=0, attempt=1)
    for _ in range(5):
        it.advance(LEASES.lease - 1)
        assert it.store.renew([ticket]) == {}
        assert it.store.sweep().dispatches == ()
    assert it.settle(0).finished is RunState.SUCCEEDED


def test_renewing_tells_a_lost_lease_from_a_stopping_run(it: Harness) -> None:
    it.submit(make_plan([[], []]))
    it.submit(ONE, "other")
    it.claim(0)
    it.claim(0, run="other")
    mine = AttemptRef(run=RUN, node=0, attempt=1)
    theirs = AttemptRef(run="other", node=0, attempt=1)
    unclaimed = AttemptRef(run=RUN, node=1, attempt=1)
    assert it.store.renew([mine, theirs, unclaimed]) == {unclaimed: True}
    it.store.stop(RUN, reason="test")
    assert it.store.renew([mine, theirs]) == {mine: False}
    it.settle(0)
    assert it.store.renew([theirs, mine]) == {mine: True}
    assert it.store.renew([]) == {}


def test_a_stale_attempt_is_refused_before_and_after_the_take_over(it: Harness) -> None:
    it.submit(CHAIN)
    it.claim(0)
    it.advance(LEASES.lease)
    it.store.sweep()
    stale = AttemptRef(run=RUN, node=0, attempt=1)
    assert it.settle(0, 1) == Transition(accepted=False)
    assert it.store.renew([stale]) == {stale: True}
    claim = it.claim(0, 2)
    assert claim is not None
    assert (claim.first, claim.lost) == (False, 1)
    assert it.settle(0, 1, output=b"\x01") == Transition(accepted=False)
    assert it.say(stale, {"late": True}) is AppendResult.STALE
    assert it.store.renew([stale]) == {stale: True}
    assert it.settle(0, 2, output=b"\x02").accepted
    assert it.settle(0, 1, output=b"\x01") == Transition(accepted=False)
    assert it.reader.outputs(RUN, [0, 1]) == {0: b"\x02"}


def test_a_retry_waits_on_the_agenda_and_comes_back_with_the_next_attempt(it: Harness) -> None:
    it.submit(ONE)
    advance = it.do(0, kind="retry", delay=2.5)
    assert (advance.dispatch, advance.finished) == (None, None)
    assert it.node(0) is NodeState.RETRYING
    assert it.claim(0, 2) is None
    assert it.store.sweep().next_due == 2.5
    it.advance(2.499)
    assert it.store.sweep().dispatches == ()
    it.advance(0.001)
    (dispatch,) = it.store.sweep().dispatches
    assert dispatch.nodes == ((0, 2),)
    claim = it.claim(0, 2)
    assert claim is not None
    assert claim.lost == 0
    it.settle(0, 2)
    record = it.reader.record(RUN)
    assert record is not None
    assert (record.nodes["n0"].attempts, record.nodes["n0"].error) == (2, None)
    retrying = next(event for event in it.log() if event.type == "node.retrying")
    assert retrying.data == {"error": {"type": "ValueError", "message": "boom"}, "delay": 2.5}
    it.assert_ended_well()


def test_a_worker_lost_too_often_makes_a_dead_letter(it: Harness) -> None:
    it.submit(CHAIN)
    for attempt in range(1, LEASES.max_lost + 1):
        claim = it.claim(0, attempt)
        assert claim is not None
        assert claim.lost == attempt - 1
        it.advance(LEASES.lease)
        (dispatch,) = it.store.sweep().dispatches
        assert dispatch.nodes == ((0, attempt + 1),)
    it.claim(0, LEASES.max_lost + 1)
    it.advance(LEASES.lease)
    sweep = it.store.sweep()
    assert (sweep.dispatches, sweep.finished) == ((), {RUN: RunState.FAILED})
    record = it.reader.record(RUN)
    assert record is not None
    assert record.error is not None
    assert (record.error.type, record.error.node) == ("WorkerLostError", "n0")
    assert it.nodes() == "fc"
    it.assert_ended_well()


def test_a_worker_known_to_be_dead_is_taken_over_at_once(it: Harness) -> None:
    it.submit(ONE)
    for attempt in range(1, LEASES.max_lost + 1):
        advance = it.do(0, attempt, kind="lost")
        assert advance.dispatch is not None
        assert advance.dispatch.nodes == ((0, attempt + 1),)
    assert it.do(0, LEASES.max_lost + 1, kind="lost").finished is RunState.FAILED
    assert it.told().count("node.lost") == LEASES.max_lost + 1
    it.assert_ended_well()


@pytest.mark.parametrize("kind", ["failed", "cancelled", "lost", "retry"])
def test_an_outcome_without_a_reason_still_leaves_one(it: Harness, kind: str) -> None:
    it.submit(ONE)
    attempt = 1
    while it.state() is not RunState.FAILED:
        it.do(0, attempt, kind=kind if attempt < 5 else "failed", failure=None)
        it.store.sweep()
        attempt += 1
    record = it.reader.record(RUN)
    assert record is not None
    error = record.nodes["n0"].error
    assert error is not None
    assert error.type == "NodeCancelledError"
    assert record.error is not None


def test_a_success_that_carries_an_old_failure_is_recorded_as_its_output(it: Harness) -> None:
    it.submit(ONE)
    it.do(0, output=b"\x07", failure=Failure(type="ValueError", message="fell back"))
    assert it.reader.outputs(RUN) == {0: b"\x07"}


def test_no_output_is_nil(it: Harness) -> None:
    it.submit(ONE)
    it.do(0, output=None)
    assert it.reader.outputs(RUN) == {0: b"\xc0"}


def test_a_failure_is_kept_in_full_and_told_in_brief(it: Harness) -> None:
    it.submit(ONE)
    failure = Failure(
        type="KeyError", message="'x'", traceback="Traceback …", node="n0", attempt=1, worker="w1"
    )
    it.do(0, kind="failed", failure=failure)
    record = it.reader.record(RUN)
    assert record is not None
    assert record.nodes["n0"].error == failure
    assert record.error == failure
    told = next(event for event in it.log() if event.type == "node.failed")
    assert told.data == {"error": {"type": "KeyError", "message": "'x'"}}


def test_a_plan_reads_back_as_it_was_put(it: Harness) -> None:
    plan: Plan = make_plan([[], [0], [0]], join={1: "all_done"}, max_parallel=2, timeout=1.5)
    it.store.put_plan(plan)
    it.store.put_plan(plan)
    assert it.store.get_plan(plan.hash) == plan
    it.submit(plan)
    assert it.reopened().get_plan(plan.hash) == plan


def test_a_node_may_say_itself_that_it_is_skipped(it: Harness) -> None:
    plan = make_plan([[], [0], [0], [1, 2], [1]], join={3: "all_done"})
    it.submit(plan)
    it.do(0)
    it.claim(1)
    advance = it.settle(1, kind="skipped", failure=None)
    assert advance.accepted
    assert it.nodes() == "skdpk"
    assert it.settle(1, kind="skipped", failure=None).accepted is False, "once"
    it.do(2)
    assert it.do(3).finished is RunState.SUCCEEDED
    assert it.nodes() == "skssk"
    it.assert_ended_well()


def test_a_skip_of_a_run_that_is_stopping_cancels_the_node(it: Harness) -> None:
    it.submit(make_plan([[]]))
    it.claim(0)
    it.store.stop(RUN, reason="enough")
    assert it.settle(0, kind="skipped", failure=None).finished is RunState.CANCELLED
    assert it.nodes() == "c"
    it.assert_ended_well()
