"""Slots, deadlines and stopping: what holds a whole run back, and what ends it early."""

import pytest

from flowcore.ports.store import AttemptRef
from flowcore.run.status import RunState
from tests.contract.harness import LEASES, RUN, Harness, make_plan

DIAMOND = make_plan([[], [0], [0], [1, 2]])


def test_max_parallel_holds_and_releases_in_order(it: Harness) -> None:
    submitted = it.submit(make_plan([[] for _ in range(6)], max_parallel=2))
    assert submitted.dispatch is not None
    assert submitted.dispatch.nodes == ((0, 1), (1, 1))
    assert it.nodes() == "ddhhhh"
    assert it.claim(2) is None
    released: list[tuple[int, int]] = []
    for node in (1, 0, 2, 3, 4, 5):
        advance = it.do(node)
        released += advance.dispatch.nodes if advance.dispatch else []
        assert it.nodes().count("d") <= 2
    assert released == [(2, 1), (3, 1), (4, 1), (5, 1)]
    it.assert_ended_well()


def test_a_waiting_retry_gives_its_slot_away_and_queues_for_another(it: Harness) -> None:
    it.submit(make_plan([[], []], max_parallel=1))
    advance = it.do(0, kind="retry", delay=1)
    assert advance.dispatch is not None
    assert advance.dispatch.nodes == ((1, 1),)
    it.claim(1)
    it.advance(1)
    assert it.store.sweep().dispatches == ()
    assert it.nodes() == "hx"
    again = it.settle(1).dispatch
    assert again is not None
    assert again.nodes == ((0, 2),)
    assert it.do(0, 2).finished is RunState.SUCCEEDED
    it.assert_ended_well()


def test_a_lost_worker_keeps_its_slot_for_the_next_attempt(it: Harness) -> None:
    it.submit(make_plan([[], []], max_parallel=1))
    it.claim(0)
    it.advance(LEASES.lease)
    (dispatch,) = it.store.sweep().dispatches
    assert dispatch.nodes == ((0, 2),)
    assert it.nodes() == "dh"


@pytest.mark.parametrize("how", ["sweep", "settle"])
def test_a_dead_letter_frees_its_slot(it: Harness, how: str) -> None:
    it.submit(make_plan([[], []], max_parallel=1, fail_fast=False))
    given: list[tuple[int, int]] = []
    for attempt in range(1, LEASES.max_lost + 2):
        it.claim(0, attempt)
        if how == "settle":
            dispatch = it.settle(0, attempt, kind="lost").dispatch
        else:
            it.advance(LEASES.lease)
            (dispatch,) = it.store.sweep().dispatches
        given += dispatch.nodes if dispatch else ()
    assert given == [(0, 2), (0, 3), (1, 1)]
    assert it.nodes() == "fd"
    assert it.do(1).finished is RunState.FAILED
    it.assert_ended_well()


TIMED = make_plan([[], [], [0]], timeout=30.0)


def test_a_run_past_its_deadline_stops_and_fails(it: Harness) -> None:
    it.submit(TIMED)
    it.advance(100)  # it has not started yet: the deadline counts from the first claim
    it.store.sweep()
    it.claim(0)
    for _ in range(6):
        it.advance(5)
        it.store.renew([_ticket(0)])
        sweep = it.store.sweep()
        assert (sweep.dispatches, sweep.finished) == ((), {})
    assert it.state() is RunState.STOPPING
    assert it.store.renew([_ticket(0)]) == {_ticket(0): False}
    assert it.settle(0, kind="cancelled").finished is RunState.FAILED
    assert it.nodes() == "ccc"
    summary = it.reader.summary(RUN)
    assert summary is not None
    assert summary.error is not None
    assert (summary.error.type, summary.error.code) == ("RunTimeoutError", "FC404")
    it.assert_ended_well()


def test_a_deadline_with_nothing_running_ends_the_run_in_the_sweep(it: Harness) -> None:
    it.submit(TIMED)
    it.do(0, kind="retry", delay=1000)
    it.advance(30)
    assert it.store.sweep().finished == {RUN: RunState.FAILED}
    it.assert_ended_well()


def test_a_run_that_ends_in_time_leaves_no_deadline(it: Harness) -> None:
    it.submit(make_plan([[]], timeout=30.0))
    it.do(0)
    it.advance(31)
    assert it.store.sweep().finished == {}
    assert it.state() is RunState.SUCCEEDED


# ── stopping ────────────────────────────────────────────────────────────────────────────────────


def test_stopping_a_run_before_it_starts_ends_it_at_once(it: Harness) -> None:
    it.submit(DIAMOND)
    assert it.store.stop(RUN, reason="test") is RunState.CANCELLED
    assert it.nodes() == "cccc"
    assert it.claim(0) is None
    summary = it.reader.summary(RUN)
    assert summary is not None
    assert (summary.started, summary.error) == (None, None)
    it.assert_ended_well()


def test_stopping_a_run_waits_for_what_is_running(it: Harness) -> None:
    it.submit(DIAMOND)
    it.do(0)
    it.claim(1)
    assert it.store.stop(RUN, reason="test") is RunState.STOPPING
    assert it.store.stop(RUN, reason="again") is RunState.STOPPING
    assert it.nodes() == "sxcc"
    assert it.settle(1, kind="failed").finished is RunState.CANCELLED
    assert it.told().count("run.stopping") == 1
    it.assert_ended_well()


@pytest.mark.parametrize("kind", ["succeeded", "failed"])
def test_stopping_changes_no_run_that_has_ended(it: Harness, kind: str) -> None:
    it.submit(make_plan([[]]))
    it.do(0, kind=kind)
    before = it.reader.record(RUN), it.log()
    assert it.store.stop(RUN, reason="late") is RunState(kind)
    assert (it.reader.record(RUN), it.log()) == before


def test_stopping_frees_no_held_node(it: Harness) -> None:
    it.submit(make_plan([[], [], []], max_parallel=1))
    it.claim(0)
    it.store.stop(RUN, reason="test")
    advance = it.settle(0)
    assert (advance.dispatch, advance.finished) == (None, RunState.CANCELLED)
    assert it.nodes() == "scc"
    it.assert_ended_well()


def _ticket(node: int) -> AttemptRef:
    return AttemptRef(run=RUN, node=node, attempt=1)
