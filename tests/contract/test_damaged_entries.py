"""Lists in which entries are damaged: the others are shown, and the damaged ones are named."""

import random
import struct
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
import redis

from flowcore.agents.agent import agent
from flowcore.agents.message import Message, Part
from flowcore.errors import ServiceError
from flowcore.ports.agents import NewTask
from flowcore.ports.flows import DeployedFlow
from flowcore.ports.listing import Listing
from flowcore.ports.refusals import Refusal
from flowcore.ports.store import NewRun, RunQuery
from flowcore.ports.workers import WorkerInfo
from flowcore.stores.redis.agents import AgentLeases, RedisAgents, RedisDirectory
from flowcore.stores.redis.flows import RedisFlows
from flowcore.stores.redis.refusals import RedisRefusals
from flowcore.stores.redis.workers import RedisWorkerBoard
from tests.contract.harness import make_plan, on_redis, on_shards
from tests.deep import count

pytestmark = pytest.mark.integration

PLAN = make_plan([[], []])
NOTE = WorkerInfo(id="w", name="celery@w", queues=("q",), concurrency=2, pool="prefork", pid=7)


@agent("echo", tags=["all"])
def echo(text: str) -> str:
    return text


#: What may be where msgpack of a map is expected.
BLOBS: list[bytes] = [
    *(b"", b"\xc1", b"\x01", b"\x81\xa1a", b"\xff\xfe", b"{}", b"null", b"\x80", b"\x90"),
    *map(msgpack.packb, (None, [], "text", b"\xff", {"until": 1e12}, {"until": "soon"}, {1: 2})),
]


def _bent(entry: dict[str, Any], dice: random.Random) -> bytes:
    """An entry as it should be, but for one field, or a few bytes."""
    kinds: tuple[Any, ...] = (
        None,
        [],
        {},
        b"\xff",
        "x",
        1,
        -1,
        [[1]],
        {"x": {}},
        float("nan"),
        {"id": 3},
    )
    if dice.random() < 0.5:
        field = dice.choice([*entry])
        odd = {**entry, field: dice.choice(kinds)}
        if dice.random() < 0.3:
            del odd[field]
        blob: bytes = msgpack.packb(odd)
        return blob
    spoiled = bytearray(msgpack.packb(entry))
    for _ in range(dice.randint(1, 4)):
        spoiled[dice.randrange(len(spoiled))] = dice.randrange(256)
    return bytes(spoiled[: dice.randint(1, len(spoiled))])


def _fields(kept: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgpack.unpackb(kept)
    return found


def test_a_damaged_note_of_a_worker_hides_no_other(redis_client: "redis.Redis") -> None:
    client: Any = redis_client
    board = RedisWorkerBoard(client)
    board.post(NOTE, keep=1e6, callables=["m:f"])
    kept = _fields(client.hget("fc:workers", "w"))
    dice = random.Random(1)
    for number, blob in enumerate([*BLOBS, *(_bent(kept, dice) for _ in range(count(300, 5000)))]):
        client.hset("fc:workers", b"odd-%d" % number, blob)
        client.hset("fc:workers:callables", b"odd-%d" % number, blob)
    client.hset("fc:workers", b"\xff\x1b[31m", b"\xc1")
    client.hset("fc:workers:callables", "w", msgpack.packb(["m:f"]))
    found = board.workers()
    assert NOTE in found
    assert len(found.unreadable) > 100
    assert "\\xff\x1b[31m" in found.unreadable
    assert all(isinstance(one.concurrency + len(one.mismatch() or ""), int) for one in found)
    assert {queue for one in found for queue in one.queues} >= {"q"}
    assert "m:f" in board.callables()


def test_a_damaged_offer_of_a_worker_hides_no_other(redis_client: "redis.Redis") -> None:
    client: Any = redis_client
    board = RedisWorkerBoard(client)
    for number, blob in enumerate(BLOBS):
        board.post(
            WorkerInfo(
                id=f"w{number}", name="w", queues=("q",), concurrency=1, pool="solo", pid=number
            ),
            keep=60,
        )
        client.hset("fc:workers:callables", f"w{number}", blob)
    RedisWorkerBoard(client).post(NOTE, keep=60, callables=["m:f"])
    assert board.callables() == {"m:f"}


def test_a_damaged_card_hides_no_other_agent(redis_client: "redis.Redis") -> None:
    client: Any = redis_client
    directory = RedisDirectory(client)
    card = echo.card(queue="a2a.echo")
    directory.post(card, instance="one", keep=1e6)
    kept = _fields(client.hget("fc:a2a:cards", "echo|one"))
    dice = random.Random(2)
    for number, blob in enumerate([*BLOBS, *(_bent(kept, dice) for _ in range(count(200, 5000)))]):
        client.hset("fc:a2a:cards", b"odd-%d|i" % number, blob)
    for number in range(count(200, 5000)):
        bent = {**kept, "card": {**card, dice.choice([*card]): dice.choice([None, 3, [], [3], {}])}}
        client.hset("fc:a2a:cards", b"card-%d|i" % number, msgpack.packb(bent))
    found = directory.agents()
    assert len(found.unreadable) > 100
    assert any(one.name == "echo" and one.instance == "one" and one.alive for one in found)
    for one in found:
        for skill in one.card["skills"]:
            assert isinstance(skill["id"], str)
            assert sorted(skill["tags"]) is not None
        one.card["description"].partition("\n")


#: What may be where a run's row is expected.
ROWS: list[Callable[[Any, str], object]] = [
    lambda client, key: client.set(key, b"\xff\xfe\x00"),
    lambda client, key: client.rpush(key, b"x"),
    lambda client, key: client.zadd(key, {b"\xff": 1}),
    lambda client, key: client.hset(key, mapping={b"\xff": b"\xff", "state": b"nonsense"}),
]
WORDS = [b"", b"x", b"\xff\xfe", b"-1", b"1e999", b"9" * 400, b"\xc1", struct.pack(">d", 1.0)]


@pytest.mark.parametrize("servers", [1, 2])
def test_a_damaged_row_hides_no_other_run(
    servers: int, two_clients: tuple["redis.Redis", "redis.Redis"]
) -> None:
    it = on_redis(two_clients[0]) if servers == 1 else on_shards(two_clients)
    dice = random.Random(3)
    it.store.put_plan(PLAN)
    fine = [f"fine-{number}" for number in range(5)]
    for run in fine:
        it.store.submit(NewRun(id=run, plan=PLAN.hash, input=b"\x80"), PLAN)
    damaged = []
    for number in range(count(120, 3000)):
        run = f"bad-{number}"
        it.store.submit(NewRun(id=run, plan=PLAN.hash, input=b"\x80"), PLAN)
        client: Any = next(one for one in two_clients if one.exists(f"fc:{{{run}}}:run"))
        row = f"fc:{{{run}}}:run"
        if number < len(ROWS):
            client.delete(row)
            ROWS[number](client, row)
        elif dice.random() < 0.3:
            client.hdel(row, dice.choice([*client.hkeys(row)]))
        else:
            fields = dice.sample([*client.hkeys(row)], k=dice.randint(1, 3))
            client.hset(row, mapping={field: dice.choice(WORDS) for field in fields})
        damaged.append(run)
    for client in two_clients[:servers]:
        client.zadd("fc:runs", {b"\xff\xfe": 1, b"": 2, b"gone": 3})
    found = it.reader.list_runs(RunQuery(limit=10_000))
    assert {row.id for row in found} >= set(fine)
    assert len(found.unreadable) > 20
    assert set(found.unreadable) <= {*damaged, "\\xff\\xfe", ""}
    for run, why in found.unreadable.items():
        assert why
        if run.startswith("bad"):
            with pytest.raises(ServiceError):
                it.reader.summary(run)
    assert found.warning("runs") is not None
    assert [row.id for row in it.reader.list_runs(RunQuery(limit=3))]


def test_a_run_with_damaged_parts_says_so(redis_client: "redis.Redis") -> None:
    client: Any = redis_client
    it = on_redis(client)
    it.store.put_plan(PLAN)
    for number, (part, put) in enumerate(
        (part, put) for part in ("st", "err", "ev") for put in ROWS
    ):
        run = f"r{number}"
        it.store.submit(NewRun(id=run, plan=PLAN.hash, input=b"\x80"), PLAN)
        client.delete(f"fc:{{{run}}}:{part}")
        put(client, f"fc:{{{run}}}:{part}")
        try:
            assert it.reader.record(run)  # what is damaged is not read
        except ServiceError as error:
            assert "damaged" in str(error) or "refused" in str(error)  # noqa: PT017  (either will do)


def test_a_damaged_dead_letter_hides_no_other(redis_client: "redis.Redis") -> None:
    client: Any = redis_client
    it = on_redis(client)
    it.store.put_plan(PLAN)
    for run in ("fine", "bad-err", "bad-row", "bad-plan"):
        it.store.submit(NewRun(id=run, plan=PLAN.hash, input=b"\x80"), PLAN)
        client.hset(f"fc:{{{run}}}:err", "0", msgpack.packb({"type": "E", "message": "m"}))
        client.zadd("fc:dead", {f"{run}|0": 1})
    client.hset("fc:{bad-err}:err", "0", b"\xc1")
    client.delete("fc:{bad-row}:run")
    client.rpush("fc:{bad-row}:run", "x")
    client.hset("fc:{bad-plan}:run", "plan", "0" * 32)
    client.zadd("fc:dead", {b"\xff": 1, b"": 1, b"fine|x": 1})
    found = it.reader.dead_letters()
    assert [letter.run for letter in found] == ["fine"]
    assert set(found.unreadable) >= {"bad-err|0", "bad-row|0", "bad-plan|0"}


def test_a_damaged_entry_hides_no_other_flow(redis_client: "redis.Redis") -> None:
    client: Any = redis_client
    on_redis(client).store.put_plan(PLAN)
    flows = RedisFlows(client)
    flow = DeployedFlow(name="fine", version="1", plan=PLAN.hash, deployed=1.0)
    flows.deploy(flow)
    kept = _fields(client.hget("fc:flows:", "fine@1"))
    dice = random.Random(4)
    for number, blob in enumerate([*BLOBS, *(_bent(kept, dice) for _ in range(count(200, 5000)))]):
        client.hset("fc:flows:", f"odd-{number}@1", blob)
    found = flows.flows()
    assert flow in found
    assert len(found.unreadable) > 50
    assert flows.find("fine") is not None


def test_a_damaged_refusal_hides_no_other(redis_client: "redis.Redis") -> None:
    client: Any = redis_client
    log = RedisRefusals(client)
    refusal = Refusal(time=1.0, queue="q", reason="r", shown="s")
    log.keep([refusal], count=1)
    client.lpush("fc:refused", *BLOBS)
    found = log.latest(limit=100)
    assert list(found) == [refusal]
    assert len(found.unreadable) == len(BLOBS)


def test_a_damaged_task_hides_no_other_dead_letter(redis_client: "redis.Redis") -> None:
    client: Any = redis_client
    store = RedisAgents(client, client, leases=AgentLeases())
    packed = msgpack.packb(Message(parts=(Part(text="x"),), message_id="m").to_json())
    for task in ("fine", "bad-0", "bad-1", "bad-2", "bad-3"):
        store.tell(NewTask(task=task, agent="echo", counts_as="m", message=packed, context="c"))
        client.zadd("fc:a2a:dead", {task: 1})
    client.hset("fc:{a2a:bad-0}:task", "state", "nonsense")
    client.delete("fc:{a2a:bad-1}:task")
    client.set("fc:{a2a:bad-1}:task", "x")
    client.delete("fc:{a2a:bad-2}:ev")
    client.xadd("fc:{a2a:bad-2}:ev", {"k": "x"})
    client.hset("fc:{a2a:bad-3}:task", "since", "soon")
    client.zadd("fc:a2a:dead", {b"\xff": 1})
    found = store.dead()
    assert "fine" in {task.id for task in found}
    assert set(found.unreadable) >= {"bad-0", "bad-1", "\\xff"}


def test_troubles_of_the_server_are_no_damage_of_an_entry() -> None:
    found: Listing[int] = Listing()
    for name in ("a", "b", "c", "d"):
        with found.reading(name):
            raise ValueError(name)
    assert "4 runs cannot be read: 'a' (ValueError: a), 'b'" in str(found.warning("runs"))
    assert Listing([1]).warning("runs") is None
