"""Attempts that have failed where nobody could decide what comes of it, and units spoken for."""

from dataclasses import replace

import msgpack
import pytest

from flowcore.ports.store import AppendResult, AttemptRef, NewRun, Outcome, Suspension
from flowcore.ports.unit import BatchSize, CompletedNode, Granularity, UnitProgress, UnitRef
from flowcore.run.status import NodeState, RunState
from tests.contract.harness import BOOM, LEASES, RUN, Harness, make_plan

FAN = make_plan([[], [0]], join={1: "all_done"})
WIDE = make_plan([[], [], [], []])
ALL = Granularity(packs={0: BatchSize(cost=0, least=99, most=99)})
HERE = Granularity(packs={0: BatchSize(cost=0.001, here=True)}, budget=1.0)


def _defer(it: Harness) -> None:
    it.submit(FAN)
    assert it.claim(0) is not None
    advance = it.settle(0, kind="deferred")
    assert advance.accepted
    assert advance.dispatch is not None
    assert advance.dispatch.nodes == ((0, 1),)


def test_a_deferred_attempt_is_claimed_once_more_with_its_failure_and_begins_once(
    it: Harness,
) -> None:
    _defer(it)
    assert it.node(0) is NodeState.DISPATCHED
    assert not it.settle(0, kind="succeeded").accepted
    claim = it.claim(0)
    assert claim is not None
    assert claim.failure == BOOM
    assert it.claim(0) is None
    assert it.settle(0, kind="failed").accepted
    it.do(1)
    it.assert_ended_well()
    assert it.told().count("node.started") == 2
    record = it.reader.record(RUN)
    assert record is not None
    assert record.nodes["n0"].attempts == 1
    assert record.nodes["n0"].error == BOOM


def test_the_attempt_after_a_deferred_one_knows_nothing_of_its_failure(it: Harness) -> None:
    _defer(it)
    assert it.claim(0) is not None
    it.settle(0, kind="retry", delay=1.0)
    it.advance(1.0)
    it.store.sweep()
    claim = it.claim(0, 2)
    assert claim is not None
    assert claim.failure is None


def test_a_deferred_attempt_whose_worker_is_lost_keeps_its_failure_and_its_number(
    it: Harness,
) -> None:
    _defer(it)
    for _ in range(LEASES.max_lost):
        assert it.claim(0) is not None
        assert it.settle(0, kind="lost").accepted
    claim = it.claim(0)
    assert claim is not None
    assert (claim.failure, claim.lost) == (BOOM, 0)
    it.settle(0, kind="retry", delay=1.0)
    it.advance(1.0)
    it.store.sweep()
    it.do(0, 2)
    record = it.reader.record(RUN)
    assert record is not None
    assert record.nodes["n0"].attempts == 2


def test_who_decides_on_a_deferred_attempt_may_not_be_lost_for_ever(it: Harness) -> None:
    _defer(it)
    for _ in range(LEASES.max_lost + 1):
        assert it.claim(0) is not None
        it.settle(0, kind="lost")
    it.do(1)
    record = it.reader.record(RUN)
    assert record is not None
    assert record.nodes["n0"].state is NodeState.FAILED
    assert record.nodes["n0"].attempts == 1
    assert [letter.node for letter in it.reader.dead_letters()] == ["n0"]


@pytest.mark.parametrize("kind", ["deferred", "lost", "failed", "succeeded", "retry", "waiting"])
def test_who_had_an_earlier_turn_of_an_attempt_is_not_heard(it: Harness, kind: str) -> None:
    """Nor is whoever says once more, for want of an answer, that the attempt is deferred."""
    it.submit(FAN)
    first = it.claim(0)
    assert first is not None
    outcome = Outcome(kind="deferred", failure=BOOM)
    assert it.store.settle(first.ticket, outcome).accepted
    second = it.claim(0)
    assert second is not None
    assert second.ticket != first.ticket
    assert not it.settle(0, turn=first.ticket.turn, kind=kind).accepted
    assert it.say(first.ticket, {"late": 1}) is AppendResult.STALE
    assert it.store.renew([first.ticket, second.ticket]) == {first.ticket: True}
    assert it.node(0) is NodeState.RUNNING
    assert it.store.settle(second.ticket, Outcome(kind="failed", failure=BOOM)).accepted


@pytest.mark.parametrize(
    "wait", [Suspension(signal="go"), Suspension(seconds=1, resumes=False)], ids=str
)
def test_a_wait_that_is_told_twice_is_one_wait(it: Harness, wait: Suspension) -> None:
    it.submit(FAN)
    first = it.claim(0)
    assert first is not None
    outcome = Outcome(kind="waiting", wait=wait)
    assert it.store.settle(first.ticket, outcome).accepted
    it.store.wake(first.ticket)
    second = it.claim(0)
    assert second is not None
    assert not it.store.settle(first.ticket, outcome).accepted
    assert it.store.settle(second.ticket, Outcome(kind="succeeded", output=b"\x01")).accepted


@pytest.mark.parametrize("kind", ["failed", "lost"])
def test_who_does_not_know_the_turn_is_heard_of_any(it: Harness, kind: str) -> None:
    """A parent that has seen the end of its child, and cannot read what that had claimed."""
    _defer(it)
    assert it.claim(0) is not None
    assert it.settle(0, kind=kind, turn=None).accepted


def test_who_claims_a_deferred_attempt_learns_that_its_fallbacks_were_called(it: Harness) -> None:
    it.submit(FAN)
    assert it.claim(0) is not None
    fallen = replace(BOOM, fallen=True)
    ticket = AttemptRef(run=RUN, node=0, attempt=1)
    assert it.store.settle(ticket, Outcome(kind="deferred", failure=fallen)).accepted
    claim = it.claim(0)
    assert claim is not None
    assert claim.failure == fallen


def test_what_a_deferred_attempt_says_counts_anew(it: Harness) -> None:
    it.submit(FAN)
    assert it.claim(0) is not None
    ticket = AttemptRef(run=RUN, node=0, attempt=1)
    assert it.say(ticket, {"at": 1}, number=1) == "heard"
    it.settle(0, kind="deferred")
    claim = it.claim(0)
    assert claim is not None
    assert it.say(claim.ticket, {"at": 2}, number=1) == "heard"
    assert it.told().count("node.emitted") == 2


def test_a_deferred_attempt_of_a_run_that_stops_is_cancelled(it: Harness) -> None:
    it.submit(FAN)
    assert it.claim(0) is not None
    it.store.stop(RUN, reason="test")
    assert it.settle(0, kind="deferred").accepted
    assert it.state() is RunState.CANCELLED
    it.assert_ended_well()


def test_a_deferred_attempt_of_a_paused_run_is_held(it: Harness) -> None:
    it.submit(FAN)
    assert it.claim(0) is not None
    it.store.pause(RUN)
    advance = it.settle(0, kind="deferred")
    assert advance.dispatch is None
    resumed = it.store.resume(RUN)
    assert resumed is not None
    assert resumed.dispatch is not None
    assert resumed.dispatch.nodes == ((0, 1),)
    claim = it.claim(0)
    assert claim is not None
    assert claim.failure == BOOM


def _adopt(it: Harness) -> UnitRef:
    new = NewRun(id=RUN, plan=WIDE.hash, input=b"\x80")
    submitted = it.store.submit(new, WIDE, grain=ALL)
    assert submitted.dispatch is not None
    (bundle,) = submitted.dispatch.bundles
    unit = UnitRef(run=RUN, unit=bundle.unit)
    assert it.store.adopt(unit, worker="w") is not None
    return unit


def test_who_speaks_for_a_unit_gives_back_what_it_has_not_begun(it: Harness) -> None:
    unit = _adopt(it)
    news = UnitProgress(current=1, since=5, give_back=True, keep=(0,))
    advance = it.store.flush(unit, news, WIDE, worker="w", grain=ALL)
    assert advance.accepted
    assert advance.kept == (0, 1)
    assert advance.dispatch is not None
    (bundle,) = advance.dispatch.bundles
    assert (bundle.node, bundle.count) == (2, 2)
    done = [
        CompletedNode(0, msgpack.packb(0), 1, 9),
        CompletedNode(1, msgpack.packb(1), 8, 1, told=True),
    ]
    last = it.store.flush(
        unit, UnitProgress(done=done, give_back=True), WIDE, worker="w", grain=ALL
    )
    assert last.accepted
    assert last.kept == ()
    assert it.nodes()[:2] == "ss"
    assert [event.node for event in it.log() if event.type.value == "node.started"] == ["n1", "n0"]


def test_who_speaks_for_a_unit_that_has_gone_on_is_not_heard(it: Harness) -> None:
    """What its process is at now would be given to others, and run twice."""
    unit = _adopt(it)
    done = [CompletedNode(0, msgpack.packb(0), 1, 9)]
    assert it.store.flush(
        unit, UnitProgress(done=done, current=1), WIDE, worker="w", grain=ALL
    ).accepted
    late = UnitProgress(current=0, since=5, give_back=True, proxy=True)
    assert not it.store.flush(unit, late, WIDE, worker="w", grain=ALL).accepted
    assert it.nodes() == "sxxx"


def test_what_a_unit_has_run_stays_with_it_when_its_run_is_stopped(it: Harness) -> None:
    unit = _adopt(it)
    it.store.stop(RUN, reason="test")
    news = UnitProgress(current=1, since=5, give_back=True, keep=(0,))
    advance = it.store.flush(unit, news, WIDE, worker="w", grain=ALL)
    assert advance.kept == (0, 1)
    assert it.nodes() == "xxcc"
    it.store.lose(unit)
    assert it.nodes() == "cccc"
    it.assert_ended_well()


def _lose(it: Harness, unit: UnitRef, *begun: int) -> None:
    assert it.store.lose(unit, begun=begun, worker="w").accepted


def _attempts(it: Harness) -> list[int]:
    record = it.reader.record(RUN)
    assert record is not None
    return [node.attempts for node in record.nodes.values()]


def test_only_what_a_dead_unit_had_begun_has_had_an_attempt(it: Harness) -> None:
    unit = _adopt(it)
    _lose(it, unit, 1, 2)
    assert it.nodes() == "dddd"
    assert [it.claim(node, attempt) is not None for node, attempt in enumerate((1, 2, 2, 1))] == [
        True,
        True,
        True,
        True,
    ]
    for node, attempt in enumerate((1, 2, 2, 1)):
        assert it.settle(node, attempt).accepted
    it.assert_ended_well()
    assert _attempts(it) == [1, 2, 2, 1]
    assert sorted(event.node or "" for event in it.log() if event.type == "node.lost") == [
        "n1",
        "n2",
    ]
    assert it.told().count("node.started") == 6


def test_a_start_that_the_log_knows_is_told_once(it: Harness) -> None:
    unit = _adopt(it)
    it.store.flush(unit, UnitProgress(current=1, since=5), WIDE, worker="w", grain=ALL)
    _lose(it, unit, 1)
    it.do(1, 2)
    assert [event.attempt for event in it.log() if event.type == "node.started"] == [1, 2]


def test_a_node_whose_start_the_log_knows_has_begun_whatever_is_said(it: Harness) -> None:
    unit = _adopt(it)
    it.store.flush(unit, UnitProgress(current=1, since=5), WIDE, worker="w", grain=ALL)
    _lose(it, unit)
    assert it.claim(1, 1) is None
    assert it.claim(1, 2) is not None
    assert it.claim(0, 1) is not None


def test_a_node_that_a_dead_unit_had_begun_before_it_was_ready_has_had_an_attempt(
    it: Harness,
) -> None:
    """The unit had run what leads to it, and recorded nothing: it all begins anew."""
    plan = make_plan([[], [0], [1]])
    submitted = it.store.submit(NewRun(id=RUN, plan=plan.hash, input=b"\x80"), plan, grain=HERE)
    assert submitted.dispatch is not None
    assert it.claim(0) is not None
    ticket = AttemptRef(run=RUN, node=0, attempt=1)
    advance = it.store.settle(ticket, Outcome(kind="succeeded", output=b"\x01"), grain=HERE)
    assert advance.kept == (1,)
    unit = UnitRef(run=RUN, unit=advance.unit or "")
    _lose(it, unit, 1, 2)
    assert it.nodes() == "sdp"
    assert it.claim(1, 2) is not None
    ticket = AttemptRef(run=RUN, node=1, attempt=2)
    advance = it.store.settle(ticket, Outcome(kind="succeeded", output=b"\x01"), grain=HERE)
    assert advance.resumed, "nobody may take a node that is not ready for its first attempt"
    assert advance.dispatch is not None
    assert advance.dispatch.nodes == ((2, 2),)
    claim = it.claim(2, 2)
    assert claim is not None
    assert claim.lost == 1
    it.settle(2, 2)
    it.assert_ended_well()
    assert _attempts(it) == [1, 2, 2]


def test_what_a_dead_unit_had_not_begun_ends_with_a_run_that_fails(it: Harness) -> None:
    unit = _adopt(it)
    for attempt in range(1, LEASES.max_lost + 1):
        if attempt == 1:
            _lose(it, unit, 0)
        else:
            it.claim(0, attempt)
            it.settle(0, attempt, kind="lost")
    for node in (1, 2, 3):
        it.do(node)
    assert it.claim(0, LEASES.max_lost + 1) is not None
    it.settle(0, LEASES.max_lost + 1, kind="lost")
    assert it.state() is RunState.FAILED
    it.assert_ended_well()


def test_what_a_dead_unit_had_not_begun_is_cancelled_with_its_run(it: Harness) -> None:
    unit = _adopt(it)
    it.store.stop(RUN, reason="test")
    _lose(it, unit, 2)
    assert it.nodes() == "cccc"
    it.assert_ended_well()
    assert _attempts(it) == [0, 0, 1, 0]


def test_what_a_dead_unit_had_not_begun_is_held_while_its_run_is_paused(it: Harness) -> None:
    unit = _adopt(it)
    it.store.pause(RUN)
    _lose(it, unit, 2)
    assert it.nodes() == "hhhh"
    resumed = it.store.resume(RUN)
    assert resumed is not None
    assert resumed.dispatch is not None
    assert sorted(resumed.dispatch.nodes) == [(0, 1), (1, 1), (2, 2), (3, 1)]
