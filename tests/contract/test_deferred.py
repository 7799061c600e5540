"""Attempts that have failed where nobody could decide what comes of it, and units spoken for."""

from dataclasses import replace

import msgpack

from flowcore.ports.store import NewRun, Outcome, Ticket
from flowcore.ports.unit import Done, Flush, Grain, Pack, UnitTicket
from flowcore.run.status import NodeState, RunState
from tests.contract.harness import BOOM, RUN, Harness, make_plan

FAN = make_plan([[], [0]], join={1: "all_done"})
WIDE = make_plan([[], [], [], []])
ALL = Grain(packs={0: Pack(cost=0, least=99, most=99)})


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


def test_a_deferred_attempt_whose_worker_is_lost_keeps_its_failure(it: Harness) -> None:
    _defer(it)
    assert it.claim(0) is not None
    it.settle(0, kind="lost")
    claim = it.claim(0, 2)
    assert claim is not None
    assert claim.failure == BOOM


def test_who_claims_a_deferred_attempt_learns_that_its_fallbacks_were_called(it: Harness) -> None:
    it.submit(FAN)
    assert it.claim(0) is not None
    fallen = replace(BOOM, fallen=True)
    ticket = Ticket(run=RUN, node=0, attempt=1)
    assert it.store.settle(ticket, Outcome(kind="deferred", failure=fallen)).accepted
    claim = it.claim(0)
    assert claim is not None
    assert claim.failure == fallen


def test_what_a_deferred_attempt_says_counts_anew(it: Harness) -> None:
    it.submit(FAN)
    assert it.claim(0) is not None
    ticket = Ticket(run=RUN, node=0, attempt=1)
    assert it.say(ticket, {"at": 1}, number=1) == "heard"
    it.settle(0, kind="deferred")
    assert it.claim(0) is not None
    assert it.say(ticket, {"at": 2}, number=1) == "heard"
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


def _adopt(it: Harness) -> UnitTicket:
    new = NewRun(id=RUN, plan=WIDE.hash, input=b"\x80")
    submitted = it.store.submit(new, WIDE, grain=ALL)
    assert submitted.dispatch is not None
    (bundle,) = submitted.dispatch.bundles
    unit = UnitTicket(run=RUN, unit=bundle.unit)
    assert it.store.adopt(unit, worker="w") is not None
    return unit


def test_who_speaks_for_a_unit_gives_back_what_it_has_not_begun(it: Harness) -> None:
    unit = _adopt(it)
    news = Flush(current=1, since=5, give_back=True, keep=(0,))
    advance = it.store.flush(unit, news, WIDE, worker="w", grain=ALL)
    assert advance.accepted
    assert advance.kept == (0, 1)
    assert advance.dispatch is not None
    (bundle,) = advance.dispatch.bundles
    assert (bundle.node, bundle.count) == (2, 2)
    done = [Done(0, msgpack.packb(0), 1, 9), Done(1, msgpack.packb(1), 8, 1, told=True)]
    last = it.store.flush(unit, Flush(done=done, give_back=True), WIDE, worker="w", grain=ALL)
    assert last.accepted
    assert last.kept == ()
    assert it.nodes()[:2] == "ss"
    assert [event.node for event in it.log() if event.type.value == "node.started"] == ["n1", "n0"]


def test_what_a_unit_has_run_stays_with_it_when_its_run_is_stopped(it: Harness) -> None:
    unit = _adopt(it)
    it.store.stop(RUN, reason="test")
    news = Flush(current=1, since=5, give_back=True, keep=(0,))
    advance = it.store.flush(unit, news, WIDE, worker="w", grain=ALL)
    assert advance.kept == (0, 1)
    assert it.nodes() == "xxcc"
    it.store.lose(unit)
    assert it.nodes() == "cccc"
    it.assert_ended_well()
