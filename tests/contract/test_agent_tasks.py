"""The task store of agents: legal moves only, each message once and in order, one hand on each."""

import threading
import time
from dataclasses import replace

import msgpack
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcore.agents.message import Message, Part, TaskState
from flowcore.errors import VersionMismatchError
from flowcore.ports.agents import MOVES, NewTask, TaskClaim, TaskLease
from flowcore.run.protocol import WIRE
from flowcore.stores.redis.agents import AgentLeases, RedisAgents
from tests.deep import count

pytestmark = [pytest.mark.integration]

SHORT = AgentLeases(lease=0.05, dispatch=0.05, retention=60.0, max_lost=1)


@pytest.fixture
def store(redis_client: "redis.Redis") -> RedisAgents:
    return RedisAgents(redis_client, redis_client, leases=AgentLeases())


@pytest.fixture
def hasty(redis_client: "redis.Redis") -> RedisAgents:
    return RedisAgents(redis_client, redis_client, leases=SHORT)


def _new(task: str, words: str, *, deadline: float | None = None) -> NewTask:
    message = Message(parts=(Part(text=words),), message_id=words, task_id=task, context_id="c")
    return NewTask(
        task=task,
        agent="echo",
        counts_as=words,
        message=msgpack.packb(message.to_json()),
        context="c",
        deadline=deadline,
    )


def _claimed(store: RedisAgents, task: str, instance: str = "i") -> TaskClaim:
    claim = store.claim(task, instance=instance)
    assert claim is not None
    return claim


def test_a_message_counts_once_and_a_task_has_one_hand(store: RedisAgents) -> None:
    assert store.tell(_new("t", "a")).verdict == "new"
    again = store.tell(_new("t", "a"))
    assert (again.verdict, again.ring) == ("duplicate", False)
    claim = _claimed(store, "t")
    assert len(claim.messages) == 1
    assert store.claim("t", instance="other") is None


def test_messages_are_taken_in_their_order(store: RedisAgents) -> None:
    store.tell(_new("t", "a"))
    claim = _claimed(store, "t")
    for words in ("b", "c"):
        assert store.tell(_new("t", words)).verdict == "queued"
    seen = []
    for more in (2, 2, 1):
        seen.append(Message.from_json(msgpack.unpackb(claim.messages[-1])).text)
        assert store.settle(claim.hold, TaskState.INPUT_REQUIRED) == more
        if more == 2:
            claim = _claimed(store, "t")
    assert seen == ["a", "b", "c"]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(wanted=st.lists(st.sampled_from(list(TaskState)), max_size=6), late=st.booleans())
def test_an_illegal_move_changes_nothing(
    store: RedisAgents, wanted: list[TaskState], late: bool
) -> None:
    task = f"t{time.monotonic_ns()}"
    store.tell(_new(task, "a"))
    claim = _claimed(store, task)
    hold = TaskLease(task=task, token=claim.hold.token + 7) if late else claim.hold
    at = TaskState.WORKING
    for state in wanted:
        legal = not late and at is TaskState.WORKING and state in MOVES[at]
        assert bool(store.settle(hold, state)) is legal
        at = state if legal else at
        found = store.get(task)
        assert found is not None
        assert found.state is at
    events = store.updates(task)
    assert [each.seq for each in events] == list(range(1, len(events) + 1))
    assert sum(each.state.is_terminal for each in events) == int(at.is_terminal)


def test_events_of_a_replay_are_not_told_twice(store: RedisAgents) -> None:
    store.tell(_new("t", "a"))
    claim = _claimed(store, "t")
    piece = msgpack.packb({"artifactId": "r", "parts": [{"text": "x"}]})
    assert store.emit(claim.hold, 1, "append", piece)
    assert store.retry(claim.hold, delay=0.0, failed=True)
    assert store.wake("t") is not None
    again = _claimed(store, "t")
    assert (again.emitted, again.tries) == (1, 1)
    assert store.emit(again.hold, 1, "append", piece)
    assert store.emit(again.hold, 2, "append", piece)
    assert not store.emit(claim.hold, 3, "append", piece)
    found = store.get("t")
    assert found is not None
    assert found.text == "xx"


def test_a_cancel_takes_the_task_from_whoever_works_on_it(store: RedisAgents) -> None:
    store.tell(_new("t", "a"))
    claim = _claimed(store, "t")
    assert store.cancel("t").verdict == "queued"
    assert store.settle(claim.hold, TaskState.COMPLETED) == 0
    assert list(store.renew("i", [claim.hold])) == [claim.hold]
    assert store.cancel("t").verdict == "duplicate"
    assert store.cancel("other").verdict == "unknown"
    assert store.tell(_new("t", "b")).verdict == "finished"


def _sweep_until(store: RedisAgents, task: str) -> None:
    ends = time.monotonic() + 10
    while not any(bell.task == task for bell in store.sweep()):
        assert time.monotonic() < ends, "never rung"
        threading.Event().wait(0.01)


def test_a_task_of_the_dead_is_rung_again_and_then_a_dead_letter(hasty: RedisAgents) -> None:
    hasty.tell(_new("t", "a"))
    first = _claimed(hasty, "t")
    _sweep_until(hasty, "t")
    assert hasty.settle(first.hold, TaskState.COMPLETED) == 0
    second = _claimed(hasty, "t")
    assert second.hold.token > first.hold.token
    ends = time.monotonic() + 10
    while not hasty.dead():
        assert time.monotonic() < ends
        hasty.sweep()
    (letter,) = hasty.dead()
    assert (letter.state, letter.id) == (TaskState.FAILED, "t")
    assert "dead letter" in letter.reason
    assert hasty.requeue("t") is not None
    assert hasty.requeue("t") is None
    third = _claimed(hasty, "t")
    assert hasty.settle(third.hold, TaskState.COMPLETED) == 1
    assert list(hasty.dead()) == []


def test_a_task_that_is_late_fails_and_a_finished_one_is_forgotten(
    redis_client: "redis.Redis",
) -> None:
    leases = AgentLeases(retention=0.0)
    store = RedisAgents(redis_client, redis_client, leases=leases)
    store.tell(_new("t", "a", deadline=0.0))
    ends = time.monotonic() + 10
    while redis_client.keys("*"):
        assert time.monotonic() < ends, redis_client.keys("*")
        store.sweep()
    assert store.get("t") is None


@settings(
    max_examples=count(25, 1000),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    ids=st.lists(
        st.text(st.sampled_from("aTDR|}:.{*\\0"), min_size=1, max_size=8)
        | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
        min_size=2,
        max_size=6,
        unique=True,
    )
)
def test_no_task_is_changed_by_the_id_of_another(
    redis_client: "redis.Redis", ids: list[str]
) -> None:
    """Whatever ids contain: each has its own messages, deadline, end and retention."""
    redis_client.flushdb()
    kept = RedisAgents(redis_client, redis_client, leases=AgentLeases(retention=60.0))
    first, *others = ids
    kept.tell(_new(first, "words", deadline=60.0))
    assert kept.settle(_claimed(kept, first).hold, TaskState.COMPLETED) == 1
    before = kept.get(first)
    gone = RedisAgents(redis_client, redis_client, leases=AgentLeases(retention=0.0))
    for other in others:
        gone.tell(_new(other, "words", deadline=0.0))
    ends = time.monotonic() + 10
    while any(gone.get(other) for other in others):
        assert time.monotonic() < ends
        gone.sweep()
    assert kept.get(first) == before
    assert kept.tell(_new(first, "words")).verdict == "duplicate"


def _call(task: str, parent: str) -> NewTask:
    return replace(_new(task, "words"), parent=parent)


@pytest.mark.parametrize("end", ["cancel", "fail", "deadline"])
def test_what_a_task_waits_for_ends_with_it_though_nobody_works_on_it(
    store: RedisAgents, end: str
) -> None:
    store.tell(_new("a", "words", deadline=0.0 if end == "deadline" else None))
    claim = _claimed(store, "a")
    store.tell(_call("a.1", "a"))
    store.tell(_call("a.1.1", "a.1"))
    store.tell(_call("a.2", "a"))
    store.settle(_claimed(store, "a.2").hold, TaskState.COMPLETED)
    store.tell(_new("b", "words"))  # told by it, and not waited for
    if end == "fail":
        assert store.settle(claim.hold, TaskState.FAILED) == 1
    else:
        assert store.retry(claim.hold, delay=60.0, failed=False), "it waits without a worker"
    if end == "cancel":
        store.cancel("a")
    ends = time.monotonic() + 10
    while not (found := store.get("a")) or not found.state.is_terminal:
        assert time.monotonic() < ends
        store.sweep()
    states = {id: task.state for id in ("a.1", "a.1.1", "a.2", "b") if (task := store.get(id))}
    canceled = TaskState.CANCELED
    assert states == {
        "a.1": canceled,
        "a.1.1": canceled,
        "a.2": TaskState.COMPLETED,
        "b": TaskState.SUBMITTED,
    }
    assert store.tell(_call("a.3", "a")).verdict == "abandoned"


def test_a_task_of_a_dead_process_is_taken_over_at_once(store: RedisAgents) -> None:
    store.tell(_new("t", "a"))
    first = _claimed(store, "t")
    assert store.emit(first.hold, 1, "append", b"")
    assert store.lose(first.hold)
    _sweep_until(store, "t")
    second = _claimed(store, "t")
    assert (first.again, second.again, second.emitted) == (False, True, 1)
    assert not store.lose(first.hold)


def test_only_another_try_begins_anew(store: RedisAgents) -> None:
    """After an error or a loss; not after an answer, nor after it was handed back."""
    store.tell(_new("t", "a"))
    for failed in (False, True, False):
        assert store.retry(_claimed(store, "t").hold, delay=0.0, failed=failed)
        store.wake("t")
        again = _claimed(store, "t")
        assert again.again is failed
        assert store.retry(again.hold, delay=0.0, failed=False)
        store.wake("t")


def test_a_task_that_cannot_be_read_breaks_no_list(
    store: RedisAgents, redis_client: "redis.Redis"
) -> None:
    for task in ("bad", "good"):
        store.tell(_new(task, "a"))
        store.settle(_claimed(store, task).hold, TaskState.FAILED, b"\xc1")
        redis_client.zadd("fc:a2a:dead", {task: 1})
    redis_client.lset("fc:{a2a:bad}:in", 0, msgpack.packb({1: 2}))
    redis_client.xadd(
        "fc:{a2a:bad}:ev", {"k": "append", "s": "TASK_STATE_FAILED", "b": b"\x81", "at": 1}, "1-0"
    )
    dead = {task.id: task for task in store.dead()}
    assert set(dead) == {"bad", "good"}
    assert "cannot be read" in dead["bad"].history[0].text
    assert "cannot be read" in dead["good"].reason
    assert list(store.updates("bad"))


@pytest.mark.parametrize("number", [None, WIRE - 1, WIRE + 1])
def test_a_task_of_another_wire_number_is_refused_in_a_sentence(
    store: RedisAgents, redis_client: "redis.Redis", number: int | None
) -> None:
    store.tell(_new("t", "a"))
    row = "fc:{a2a:t}:task"
    if number is None:
        redis_client.hdel(row, "v")
    else:
        redis_client.hset(row, "v", number)
    with pytest.raises(VersionMismatchError, match=f"who began task 't' is .* here {WIRE};"):
        store.get("t")
    with pytest.raises(VersionMismatchError):
        store.tell(_new("t", "more"))
    assert store.claim("t", instance="i") is None
    redis_client.hset(row, "v", WIRE)
    task = store.get("t")
    assert task is not None
    assert task.state is TaskState.FAILED
    assert task.said is not None
    assert "run the same version of flowcore everywhere" in task.said.text
    assert len(task.history) == 1


def test_dead_letters_of_another_wire_number_hide_no_others(
    store: RedisAgents, redis_client: "redis.Redis"
) -> None:
    for task in ("t", "u"):
        store.tell(_new(task, task))
        redis_client.zadd("fc:a2a:dead", {task: 1.0})
    redis_client.hset("fc:{a2a:t}:task", "v", WIRE + 1)
    assert [task.id for task in store.dead()] == ["u"]
