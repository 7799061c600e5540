"""The board of workers: notes by process, and what they offer by name."""

from dataclasses import replace
from typing import TYPE_CHECKING

import msgpack

from flowcore.ports.workers import WorkerInfo
from flowcore.run.protocol import WIRE, WIRE_BEFORE
from flowcore.stores.redis.workers import RedisWorkerBoard

if TYPE_CHECKING:
    import redis

NOTE = WorkerInfo(
    id="one",
    name="celery@here",
    queues=("a", "b"),
    concurrency=2,
    pool="prefork",
    pid=7,
    version="1.2.3",
    engines={"native": "5.7"},
    memory=12345,
)


def test_a_note_comes_back_as_it_was_posted(redis_client: "redis.Redis") -> None:
    board = RedisWorkerBoard(redis_client)
    board.post(NOTE, keep=60)
    assert board.workers() == [NOTE]
    assert board.workers()[0].wire == WIRE
    board.remove(NOTE.id)
    assert board.workers() == []


def test_three_workers_of_one_name_are_three(redis_client: "redis.Redis") -> None:
    board = RedisWorkerBoard(redis_client)
    notes = [replace(NOTE, id=f"w{k}", pid=k, queues=(f"q{k}",)) for k in range(3)]
    for note in notes:
        board.post(note, keep=60)
    assert board.workers() == notes
    assert board.count() == 3


def test_a_note_that_is_not_renewed_goes_with_what_it_offered(redis_client: "redis.Redis") -> None:
    board = RedisWorkerBoard(redis_client)
    board.post(NOTE, keep=-1, callables=["m:f"])
    assert board.workers() == []
    assert board.callables() == frozenset()
    assert board.count() == 0
    assert not redis_client.exists("fc:workers:callables")


def test_callables_are_those_of_all_live_workers(redis_client: "redis.Redis") -> None:
    board, other = RedisWorkerBoard(redis_client), RedisWorkerBoard(redis_client)
    board.post(NOTE, keep=60, callables=["m:f", "m:g"])
    other.post(replace(NOTE, id="two"), keep=60, callables=["m:g", "n:h"])
    assert board.callables() == {"m:f", "m:g", "n:h"}
    other.remove("two")
    assert board.callables() == {"m:f", "m:g"}


def test_what_a_workers_other_processes_offer_comes_and_goes_with_its_note(
    redis_client: "redis.Redis",
) -> None:
    board, other = RedisWorkerBoard(redis_client), RedisWorkerBoard(redis_client)
    other.offer(NOTE.id, ["m:agent"])
    assert board.callables() == frozenset(), "nobody is there yet"
    board.post(NOTE, keep=60, callables=["m:f"])
    other.offer(NOTE.id, ["m:agent"])
    assert board.callables() == {"m:f", "m:agent"}
    board.remove(NOTE.id)
    assert not redis_client.exists("fc:workers:callables")
    board.post(NOTE, keep=-1, callables=["m:f"])
    RedisWorkerBoard(redis_client).offer(NOTE.id, ["m:agent"])
    assert board.workers() == []
    assert not redis_client.exists("fc:workers:callables")


def test_a_note_of_a_version_that_wrote_no_number_has_the_first(
    redis_client: "redis.Redis",
) -> None:
    old = {"name": "celery@old", "queues": ["q"], "concurrency": 1, "pool": "solo", "pid": 1}
    seconds = redis_client.time()[0]
    redis_client.hset("fc:workers", "celery@old", msgpack.packb({**old, "until": seconds + 60}))
    (note,) = RedisWorkerBoard(redis_client).workers()
    assert note.wire == WIRE_BEFORE
    assert "older" in (note.mismatch() or "")
