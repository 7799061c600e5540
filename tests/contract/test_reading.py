"""Records, lists, the event log, and what is left when nobody needs a run any more."""

import threading
import time

import pytest

from flowcore.ports.store import AppendResult, AttemptRef, NewRun, RunQuery, Suspension
from flowcore.run.event import EventType
from flowcore.run.node_event import MOST_SAID, Note
from flowcore.run.status import NodeState, RunState
from flowcore.stores.inmemory.runs.run import PLAN_GRACE
from tests.contract.harness import LEASES, RUN, Harness, make_plan

ONE = make_plan([[]])
CHAIN = make_plan([[], [0]])


def test_a_record_shows_the_run_and_its_nodes(it: Harness) -> None:
    start = it.clock()
    it.submit(CHAIN, tags=("a", "b"))
    it.advance(1)
    it.claim(0)
    it.advance(2)
    it.settle(0)
    record = it.reader.record(RUN)
    assert record is not None
    assert (record.id, record.flow, record.version, record.plan) == (RUN, "flow", "1", CHAIN.hash)
    assert (record.created, record.started, record.finished) == (start, start + 1, None)
    assert (record.state, record.total, record.settled) == (RunState.RUNNING, 2, 1)
    assert (record.tags, record.error) == (("a", "b"), None)
    node = record.nodes["n0"]
    assert (node.state, node.attempts, node.worker) == (NodeState.SUCCEEDED, 1, "w1")
    assert (node.started, node.finished) == (start + 1, start + 3)
    assert record.nodes["n1"].state is NodeState.DISPATCHED
    assert it.reader.input(RUN) == b"\x80"
    it.advance(1)
    it.do(1)
    summary = it.reader.summary(RUN)
    assert summary is not None
    assert summary.finished == start + 4


def test_outputs_are_read_all_or_some(it: Harness) -> None:
    it.submit(make_plan([[], [], []]))
    it.do(0)
    it.do(2)
    assert it.reader.outputs(RUN) == {0: b"\x00", 2: b"\x02"}
    assert it.reader.outputs(RUN, [2, 1]) == {2: b"\x02"}
    assert it.reader.outputs(RUN, []) == {}
    assert it.reader.states(RUN, [1, 2]) == {1: NodeState.DISPATCHED, 2: NodeState.SUCCEEDED}


# ── events ──────────────────────────────────────────────────────────────────────────────────────


def test_the_events_of_a_chain(it: Harness) -> None:
    it.submit(CHAIN)
    it.do(0)
    it.do(1)
    assert [(event.type.value, event.nodes, event.attempt) for event in it.log()] == [
        ("run.created", (), None),
        ("nodes.dispatched", ("n0",), None),
        ("run.started", (), None),
        ("node.started", ("n0",), 1),
        ("node.succeeded", ("n0",), 1),
        ("nodes.dispatched", ("n1",), None),
        ("node.started", ("n1",), 1),
        ("node.succeeded", ("n1",), 1),
        ("run.succeeded", (), None),
    ]
    it.assert_ended_well()


def test_a_reader_resumes_by_id(it: Harness) -> None:
    it.submit(CHAIN)
    it.do(0)
    it.do(1)
    whole = it.log()
    for after in range(len(whole) + 1):
        assert list(it.events.read(RUN, after=after)) == whole[after:]
    assert not it.events.read(RUN, after=999)
    assert it.events.last(RUN) == whole[-1].id
    assert it.events.last("nobody") == 0


def test_only_the_valid_attempt_emits(it: Harness) -> None:
    ticket = AttemptRef(run=RUN, node=0, attempt=1)
    it.submit(ONE)
    assert it.say(ticket, {"n": 0}) is AppendResult.STALE
    it.claim(0)
    assert it.say(ticket, {"n": 1, "deep": {"list": (1, 2)}}) is AppendResult.HEARD
    assert it.say(AttemptRef(run=RUN, node=0, attempt=2), {"n": 2}) is AppendResult.STALE
    it.settle(0)
    assert it.say(ticket, {"n": 3}) is AppendResult.STALE
    emitted = [event for event in it.log() if event.type == "node.emitted"]
    assert [(event.node, event.attempt, event.data) for event in emitted] == [
        ("n0", 1, {"n": 1, "deep": {"list": [1, 2]}})
    ]
    it.assert_ended_well()


def test_what_is_said_together_is_read_in_order_from_anywhere(it: Harness) -> None:
    ticket = AttemptRef(run=RUN, node=0, attempt=1)
    it.submit(ONE)
    it.claim(0)
    words = [{"text": letter} for letter in "abcde"]
    assert it.say(ticket, *words, kind="node.token") is AppendResult.HEARD
    assert it.say(ticket, {"level": "INFO", "message": "m"}, kind="node.log") is AppendResult.HEARD
    it.settle(0)
    log = it.log()
    tokens = [event for event in log if event.type == "node.token"]
    assert [(event.node, event.attempt, event.data) for event in tokens] == [
        ("n0", 1, word) for word in words
    ]
    for after in range(len(log) + 1):
        assert list(it.events.read(RUN, after=after)) == log[after:]
    it.assert_ended_well()


def test_a_note_has_the_time_at_which_it_was_said(it: Harness) -> None:
    it.submit(ONE)
    it.claim(0)
    note = Note(type=EventType.NODE_TOKEN, packed=b"\x80", ago=0.25)
    it.events.append(AttemptRef(run=RUN, node=0, attempt=1), [note], number=1)
    assert it.log()[-1].time == pytest.approx(it.clock() - 0.25)


def test_notes_that_are_said_again_count_once(it: Harness) -> None:
    ticket = AttemptRef(run=RUN, node=0, attempt=1)
    it.submit(ONE)
    it.claim(0)
    for number in (1, 1, 2, 1, 2):
        assert it.say(ticket, {"n": number}, number=number) is AppendResult.HEARD
    assert [event.data for event in it.log() if event.type == "node.emitted"] == [
        {"n": 1},
        {"n": 2},
    ]
    it.settle(0, 1, kind="waiting", wait=Suspension(signal="go"), failure=None)
    it.store.signal(RUN, "go", b"\x01")
    claim = it.claim(0)
    assert claim is not None
    assert it.say(ticket, {"n": 4}, number=1) is AppendResult.STALE
    assert it.say(claim.ticket, {"n": 4}, number=1) is AppendResult.HEARD
    assert it.log()[-1].data == {"n": 4}, "an attempt that has waited counts anew"
    it.settle(0, 1, kind="retry", delay=0.0)
    it.store.sweep()
    claim = it.claim(0, 2)
    assert claim is not None
    assert it.say(claim.ticket, {"n": 3}, number=1) is AppendResult.HEARD
    assert it.log()[-1].data == {"n": 3}, "another attempt counts anew"


def test_a_run_that_has_said_as_much_as_it_may_has_one_gap(it: Harness) -> None:
    ticket = AttemptRef(run=RUN, node=0, attempt=1)
    it.submit(ONE)
    it.claim(0)
    heard = [it.say(ticket, {"text": "x" * (MOST_SAID // 4)}) for _ in range(6)]
    assert heard == [AppendResult.HEARD] * 3 + [AppendResult.FULL] * 3
    assert it.told().count("stream.gap") == 1
    assert it.log()[-1].data == {"reason": "full"}
    it.settle(0)
    it.assert_ended_well()


def test_what_is_emitted_can_be_read_back(it: Harness) -> None:
    ticket = AttemptRef(run=RUN, node=0, attempt=1)
    it.submit(ONE)
    it.claim(0)
    it.say(ticket, {"seconds": {1: 0.5, None: b"raw"}})
    it.settle(0)
    emitted = [event.data for event in it.log() if event.type == "node.emitted"]
    assert emitted == [{"seconds": {1: 0.5, None: b"raw"}}]
    it.assert_ended_well()


def test_a_long_log_is_read_in_pages(it: Harness) -> None:
    ticket = AttemptRef(run=RUN, node=0, attempt=1)
    it.submit(ONE)
    it.claim(0)
    for number in range(2_500):
        it.say(ticket, {"n": number})
    assert len(it.events.read(RUN)) == 1_000
    assert [e.data["n"] for e in it.log() if e.type == "node.emitted"] == list(range(2_500))
    it.settle(0)
    it.assert_ended_well()


def test_a_follower_waits_for_the_next_event(it: Harness) -> None:
    it.submit(ONE)
    seen = len(it.log())
    begun = time.monotonic()
    assert not it.events.read(RUN, after=seen, block=0.05)
    assert time.monotonic() - begun >= 0.04
    later = threading.Timer(0.1, it.claim, [0])
    later.start()
    types = [event.type.value for event in it.events.read(RUN, after=seen, block=10)]
    later.join()
    assert types[0] == "run.started"


def test_waiting_ends_with_the_run(it: Harness) -> None:
    it.submit(ONE)
    assert not it.events.wait(RUN, timeout=0.02)
    assert not it.events.wait("nobody", timeout=0.02)
    it.claim(0)
    later = threading.Timer(0.1, it.settle, [0])
    later.start()
    assert it.events.wait(RUN, timeout=10)
    later.join()
    assert it.events.wait(RUN, timeout=0.02)


# ── lists ───────────────────────────────────────────────────────────────────────────────────────


def test_runs_are_listed_newest_first_and_filtered(it: Harness) -> None:
    other = make_plan([[]], flow="other")
    for number in range(6):
        it.submit(other if number % 2 else ONE, f"r{number}", tags=("even",) * (1 - number % 2))
        it.advance(1)
    it.do(0, run="r4")
    it.do(0, run="r1", kind="failed")

    def ids(query: RunQuery) -> list[str]:
        return [row.id for row in it.reader.list_runs(query)]

    assert ids(RunQuery()) == ["r5", "r4", "r3", "r2", "r1", "r0"]
    assert ids(RunQuery(limit=2)) == ["r5", "r4"]
    assert ids(RunQuery(limit=0)) == []
    assert ids(RunQuery(flow="other")) == ["r5", "r3", "r1"]
    assert ids(RunQuery(tag="even")) == ["r4", "r2", "r0"]
    assert ids(RunQuery(states=frozenset({RunState.SUCCEEDED, RunState.FAILED}))) == ["r4", "r1"]
    assert ids(RunQuery(states=frozenset({RunState.PENDING}), flow="flow", limit=1)) == ["r2"]
    failed = it.reader.list_runs(RunQuery(states=frozenset({RunState.FAILED})))[0]
    assert failed.error is not None
    assert failed == it.reader.summary("r1")


def test_a_match_far_down_a_long_list_is_found(it: Harness) -> None:
    for number in range(2_100):
        it.submit(ONE, f"r{number:04}", tags=("last",) if number == 0 else ())
        it.advance(0.001 if it.kind == "inmemory" else 0)
    assert [row.id for row in it.reader.list_runs(RunQuery(tag="last"))] == ["r0000"]


# ── the end ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["succeeded", "failed", "stopped", "late", "lost"])
def test_retention_leaves_nothing_behind(it: Harness, how: str) -> None:
    plan = make_plan([[], [0], [0], [1, 2], [0]], max_parallel=2, timeout=60.0)
    it.submit(plan)
    it.advance(LEASES.dispatch)
    it.store.sweep()
    it.do(0)
    it.do(1, kind="retry", delay=1)
    it.advance(1)
    it.store.sweep()
    if how == "succeeded":
        it.do(2)
        it.do(4)
        it.do(1, 2)
        it.do(3)
    elif how == "failed":
        it.do(2, kind="failed")
    elif how == "stopped":
        it.store.stop(RUN, reason="test")
    elif how == "late":
        it.advance(60)
        it.store.sweep()
    else:
        for attempt in range(1, LEASES.max_lost + 2):
            it.do(2, attempt, kind="lost")
    it.assert_ended_well()
    it.advance(LEASES.retention - 0.001)
    it.store.sweep()
    assert it.reader.record(RUN) is not None
    it.advance(0.001)
    sweep = it.store.sweep()
    assert (sweep.dispatches, sweep.overdue, sweep.finished, sweep.next_due) == ((), (), {}, None)
    assert it.reader.record(RUN) is None
    assert it.reader.list_runs(RunQuery()) == []
    assert not it.log()
    it.advance(PLAN_GRACE / 1000)
    assert it.leftovers() == []


def test_a_purged_id_may_be_used_again(it: Harness) -> None:
    it.submit(ONE)
    it.do(0)
    it.advance(LEASES.retention)
    it.store.sweep()
    assert it.submit(CHAIN).created
    it.do(0)
    it.do(1)
    it.assert_ended_well()


def test_a_plan_is_kept_while_in_use_and_expires_after_the_last_run(it: Harness) -> None:
    whole = LEASES.retention + PLAN_GRACE / 1000
    it.store.put_plan(CHAIN)
    it.submit(CHAIN, "first")
    it.submit(CHAIN, "second")
    it.store.stop("first", reason="test")
    it.advance(2 * whole)
    it.store.sweep()
    assert it.reopened().get_plan(CHAIN.hash) == CHAIN, "the second run is pinned to it"
    it.store.stop("second", reason="test")
    it.advance(whole / 2)
    it.submit(CHAIN, "third")
    it.advance(whole)
    it.store.sweep()
    assert it.reopened().get_plan(CHAIN.hash) == CHAIN, "the third run took it up again"
    it.do(0, run="third")
    it.do(1, run="third")
    it.advance(whole)
    it.store.sweep()
    with pytest.raises(KeyError):
        it.reopened().get_plan(CHAIN.hash)
    assert it.submit(CHAIN, "fourth").created, "submitting puts it again"
    assert it.do(0, run="fourth").dispatch is not None


HOSTILE = [
    "",
    " ",
    "a|T",
    "a|R",
    "a|0",
    "a",
    "|",
    "{a}",
    "}:run",
    "a}:run",
    "a\nb",
    "a\0b",
    "*",
    "%d%s(.*)",
    "ü—☃—😀",
    "fc:agenda",
    "'; DROP TABLE runs; --",
    "x" * 5_000,
]


def test_hostile_run_ids_do_not_touch_each_other(it: Harness) -> None:
    plan = make_plan([[], [0]], timeout=600.0)
    for run in HOSTILE:
        assert it.submit(plan, run).created
        assert not it.submit(plan, run).created
    assert {row.id for row in it.reader.list_runs(RunQuery())} == set(HOSTILE)
    for run in HOSTILE:
        it.do(0, run=run, kind="retry", delay=1)
    it.advance(1)
    sweep = it.store.sweep()
    assert sorted((d.run, d.nodes) for d in sweep.dispatches) == [
        (run, ((0, 2),)) for run in sorted(HOSTILE)
    ]
    for run in HOSTILE:
        it.do(0, 2, run=run)
        assert it.do(1, run=run).finished is RunState.SUCCEEDED
        assert {event.run for event in it.log(run)} == {run}
        it.assert_ended_well(run)
    it.advance(LEASES.retention)
    it.store.sweep()
    it.advance(PLAN_GRACE / 1000)
    assert it.leftovers() == []


def test_one_sweep_looks_at_no_more_than_its_limit(it: Harness) -> None:
    it.submit(make_plan([[] for _ in range(10)]))
    it.advance(LEASES.dispatch)
    assert [len(it.store.sweep(limit=4).overdue) for _ in range(4)] == [4, 4, 2, 0]


def test_an_input_may_hold_any_bytes(it: Harness) -> None:
    blob = bytes(range(256)) * 10
    it.store.submit(NewRun(id=RUN, plan=ONE.hash, input=blob), ONE)
    assert it.reader.input(RUN) == blob
