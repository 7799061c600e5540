"""Memory that outlives runs; one suite for every store."""

import multiprocessing
import threading
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest
import redis

from flowcore.ports.memory import MemoryStore, Written
from flowcore.stores.inmemory.memory import InMemoryMemory
from flowcore.stores.redis.connection.connect import connect
from flowcore.stores.redis.memory import RedisMemory, ShardedMemory
from tests.engine import poll

THREAD = "support/alice"


@pytest.fixture(
    params=[
        "inmemory",
        pytest.param("redis", marks=pytest.mark.integration),
        pytest.param("sharded", marks=pytest.mark.integration),
    ]
)
def store(request: pytest.FixtureRequest) -> MemoryStore:
    if request.param == "inmemory":
        return InMemoryMemory()
    if request.param == "redis":
        return RedisMemory(request.getfixturevalue("redis_client"))
    parts = [RedisMemory(client) for client in request.getfixturevalue("two_clients")]
    return ShardedMemory({"one": parts[0], "two": parts[1]})


def said(store: MemoryStore, thread: str = THREAD) -> list[Any]:
    return [msgpack.unpackb(entry.packed) for entry in store.read(thread).entries]


def say(store: MemoryStore, *words: Any, thread: str = THREAD, **more: Any) -> int:
    return store.append(thread, [msgpack.packb(word) for word in words], **more).last


def test_messages_are_kept_in_order_with_numbers_that_are_never_given_twice(
    store: MemoryStore,
) -> None:
    assert say(store, "a") == 1
    assert say(store, "b", "c") == 3
    assert say(store) == 0
    assert said(store) == ["a", "b", "c"]
    entries = store.read(THREAD).entries
    assert [entry.id for entry in entries] == [1, 2, 3]
    assert entries[0].time <= entries[-1].time
    assert say(store, "d") == 4
    store.drop(THREAD, 2)
    store.drop("nobody", 2)
    assert said(store) == ["c", "d"]
    assert [entry.id for entry in store.read(THREAD).entries] == [3, 4]
    store.drop(THREAD, 99)
    assert said(store) == []
    assert say(store, "e") == 5


def test_a_write_says_how_much_there_is_that_may_be_forgotten(store: MemoryStore) -> None:
    packed = [b"\x01", b"\xa2ab"]
    assert store.append(THREAD, packed, key="k") == Written(last=2, messages=2, size=4)
    assert store.append(THREAD, packed, key="k") == Written(last=2, messages=2, size=4)
    store.drop(THREAD, 1)
    assert store.append(THREAD, [b"\x02"]) == Written(last=3, messages=2, size=4)
    assert store.append(THREAD, []) == Written()


def test_what_leads_a_thread_is_pinned_up_to_a_number(store: MemoryStore) -> None:
    say(store, "s1", "s2", "u1", leading=2)
    say(store, "late", leading=1)
    store.drop(THREAD, 3)
    assert said(store) == ["s1", "s2", "late"]
    assert store.read(THREAD).pinned == 2
    assert [entry.id for entry in store.read(THREAD).entries] == [1, 2, 4]
    assert store.threads()[0].messages == 3
    token = "one"
    assert store.claim(THREAD, token, 60) == 1
    assert store.fold(THREAD, token, b"\xa1x", upto=4)
    assert said(store) == ["s1", "s2"]
    say(store, *range(70), thread="many", leading=70)
    say(store, *range(70), thread="many", leading=70)
    store.drop("many", 1000)
    assert store.read("many").pinned == len(store.read("many").entries) == 100


def test_threads_do_not_see_each_other(store: MemoryStore) -> None:
    say(store, "a")
    say(store, "b", thread="support/bob")
    store.put(THREAD, {"name": b"\x01"})
    assert said(store) == ["a"]
    assert said(store, "support/bob") == ["b"]
    assert store.facts("support/bob") == {}
    assert said(store, "nobody") == []


def test_a_write_said_twice_counts_once(store: MemoryStore) -> None:
    assert say(store, "a", "b", key="run.node.0") == 2
    assert say(store, "a", "b", key="run.node.0") == 2
    assert say(store, "c", key="run.node.1") == 3
    assert said(store) == ["a", "b", "c"]


def test_a_summary_stands_for_what_it_was_made_of_and_for_nothing_that_came_since(
    store: MemoryStore,
) -> None:
    say(store, "a", "b", "c")
    assert store.claim(THREAD, "one", 60) == 1
    assert store.claim(THREAD, "two", 60) == 0, "somebody has begun"
    say(store, "d")
    assert not store.fold(THREAD, "two", b"\xa5other", upto=3)
    assert store.fold(THREAD, "one", b"\xa3abc", upto=2)
    kept = store.read(THREAD)
    assert (kept.summary, kept.folded) == (b"\xa3abc", 2)
    assert said(store) == ["c", "d"]
    assert store.fold(THREAD, "one", b"\xa1x", upto=3)
    assert said(store) == ["d"]
    store.release(THREAD, "two")
    assert store.claim(THREAD, "three", 60) == 0
    store.release(THREAD, "one")
    assert store.claim(THREAD, "three", 60) == 1
    assert not store.fold(THREAD, "one", b"\xa1y", upto=4), "somebody else has begun since"
    assert store.claim("nobody", "four", 60) == 0
    assert not store.fold("nobody", "four", b"\xa1x", upto=3)
    store.release("nobody", "four", why="no")


def test_a_summary_of_what_was_cleared_meanwhile_is_never_kept(store: MemoryStore) -> None:
    say(store, "a", "b")
    assert store.claim(THREAD, "one", 60)
    store.clear(THREAD)
    say(store, "new", "words")
    assert not store.fold(THREAD, "one", b"\xa2ab", upto=2)
    assert (said(store), store.read(THREAD).summary) == (["new", "words"], None)


def test_a_summary_that_failed_is_told_of_until_there_is_one(store: MemoryStore) -> None:
    say(store, "a", "b")
    assert store.unsummarised() == []
    assert store.claim(THREAD, "one", 60) == 1
    (row,) = store.unsummarised()
    assert (row.name, row.messages, row.tries, row.why) == (THREAD, 2, 1, "")
    store.release(THREAD, "one", why="model down")
    assert store.claim(THREAD, "two", 60) == 2
    store.release(THREAD, "two", pause=60, why="still down")
    (row,) = store.unsummarised()
    assert (row.tries, row.why) == (2, "still down")
    assert store.claim(THREAD, "three", 60) == 0, "it was put off"
    assert store.fold(THREAD, "two", b"\xa1x", upto=1), "who was slow comes in the end"
    assert store.unsummarised() == []
    store.release(THREAD, "two", why="the second part failed")
    assert [row.tries for row in store.unsummarised()] == [1]
    store.clear(THREAD)
    assert store.unsummarised() == []


def test_a_claim_ends_by_itself(store: MemoryStore) -> None:
    say(store, "a")
    assert store.claim(THREAD, "one", 0.02) == 1
    poll(lambda: store.claim(THREAD, "two", 60) == 2, what="the end of the claim")


def test_facts_are_kept_by_name_until_they_are_forgotten(store: MemoryStore) -> None:
    store.put(THREAD, {"a": b"\x01", "b": b"\x02"})
    store.put(THREAD, {"a": None, "c": b"\x03"})
    assert store.facts(THREAD) == {"b": b"\x02", "c": b"\x03"}
    assert store.facts("nobody") == {}


def test_a_fact_and_a_thread_end_with_their_time(store: MemoryStore) -> None:
    store.put(THREAD, {"stays": b"\x01"})
    store.put(THREAD, {"goes": b"\x02"}, ttl=0.05)
    say(store, "a", thread="t/short", ttl=0.05)
    waited = threading.Event()
    for _ in range(200):
        if "goes" not in store.facts(THREAD) and not said(store, "t/short"):
            break
        waited.wait(0.01)
    assert store.facts(THREAD) == {"stays": b"\x01"}
    assert [row.name for row in store.threads()] == [THREAD]
    assert say(store, "b", thread="t/short") == 1, "a new thread begins anew"


def test_threads_are_listed_by_prefix_those_written_last_first(store: MemoryStore) -> None:
    for name in ("a/1", "b/1", "a/2"):
        say(store, "x", thread=name)
        threading.Event().wait(0.002)  # their times are milliseconds
    store.put("a/1", {"fact": b"\x01"})
    rows = store.threads(prefix="a/")
    assert [(row.name, row.messages, row.facts) for row in rows] == [("a/1", 1, 1), ("a/2", 1, 0)]
    assert len(store.threads(limit=2)) == 2
    assert store.threads(prefix="c") == []


def test_what_is_cleared_is_gone(store: MemoryStore) -> None:
    say(store, "a", key="k")
    store.put(THREAD, {"fact": b"\x01"})
    assert store.clear(THREAD)
    assert not store.clear(THREAD)
    assert (said(store), store.facts(THREAD), store.threads()) == ([], {}, [])


@pytest.mark.integration
def test_nothing_is_left_of_what_is_cleared(redis_client: "redis.Redis") -> None:
    store = RedisMemory(redis_client, space="project")
    say(store, "a", key="k", ttl=1000)
    say(store, "s", thread="other", leading=1)
    store.clear("other")
    assert store.claim(THREAD, "one", 60) == 1
    store.fold(THREAD, "one", b"\xa1x", upto=1)
    store.release(THREAD, "one", why="no")
    assert [row.name for row in store.unsummarised()] == [THREAD]
    assert RedisMemory(redis_client, space="other").unsummarised() == []
    store.put(THREAD, {"fact": b"\x01"})
    assert [row.name for row in store.threads()] == [THREAD]
    assert RedisMemory(redis_client, space="other").threads() == []
    store.clear(THREAD)
    assert redis_client.keys("fc:*") == []


def _write(url: str, writer: int, count: int, go: Any) -> None:
    store = RedisMemory(connect(url))
    go.wait(30)
    for number in range(count):
        say(store, [writer, number])


def test_names_of_threads_whose_time_is_over_are_let_go(store: MemoryStore) -> None:
    for number in range(20):
        say(store, "a", thread=f"t/short-{number}", ttl=0.02)
    say(store, "a", thread="t/kept")
    store.put("t/facts", {"name": b"\x01"})
    poll(lambda: not said(store, "t/short-19"), what="the threads' end")
    assert store.tidy() >= 19  # one was looked at
    assert store.tidy() == 0
    assert {row.name for row in store.threads()} == {"t/facts", "t/kept"}
    say(store, "b", thread="t/short-1")
    assert "t/short-1" in [row.name for row in store.threads()]


@pytest.mark.integration
def test_the_names_of_all_spaces_are_let_go_and_a_call_is_bounded(
    redis_client: "redis.Redis",
) -> None:
    here, there = RedisMemory(redis_client, space="here"), RedisMemory(redis_client, space="there")
    for number in range(1500):
        say(there, "a", thread=f"t/{number}", ttl=0.02)
    say(here, "a")
    poll(lambda: redis_client.exists("fc:{mem:there|t/1499}:log") == 0, what="the threads' end")
    first = here.tidy()
    assert 0 < first < 1500
    poll(lambda: here.tidy() == 0 and redis_client.zcard("fc:memory") == 1, what="the rest")
    assert redis_client.zrange("fc:memory", 0, -1) == [b"here|support/alice"]


@pytest.fixture
def writers(valkey_server: str) -> Iterator[list[Any]]:
    """Ten processes of five threads each, which begin together."""
    context = multiprocessing.get_context("fork")
    go = context.Barrier(11)
    made = [context.Process(target=_threads, args=(valkey_server, at * 5, go)) for at in range(10)]
    for process in made:
        process.start()
    yield [go, *made]
    for process in made:
        process.join(30)
        process.kill()


def _threads(url: str, first: int, go: Any) -> None:
    here = threading.Event()
    threads = [threading.Thread(target=_write, args=(url, first + at, 40, here)) for at in range(5)]
    for thread in threads:
        thread.start()
    go.wait(30)
    here.set()
    for thread in threads:
        thread.join()


@pytest.mark.integration
def test_fifty_writers_lose_nothing_and_keep_order(
    redis_client: "redis.Redis", writers: list[Any]
) -> None:
    go, *processes = writers
    go.wait(30)
    for process in processes:
        process.join(60)
    store = RedisMemory(redis_client)
    entries = store.read(THREAD).entries
    assert [entry.id for entry in entries] == list(range(1, 50 * 40 + 1))
    messages = said(store)
    for writer in range(50):
        assert [number for who, number in messages if who == writer] == list(range(40))
    assert len({tuple(message) for message in messages[:50]}) == 50
