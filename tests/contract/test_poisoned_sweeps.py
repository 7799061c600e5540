"""Sweeps over sorted sets in which members are poison: the others have their turn."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import msgpack
import pytest
import redis

from flowcore.agents.message import Message, Part
from flowcore.engine.background.janitor import Janitor
from flowcore.errors import StoreFullError
from flowcore.plan.plan import Plan
from flowcore.ports.agents import NewTask
from flowcore.ports.schedules import Schedule
from flowcore.ports.store import Dispatch, NewRun, RunStore
from flowcore.stores.redis.agents import AgentLeases, RedisAgents
from flowcore.stores.redis.callbacks import RedisCallbackDesk
from flowcore.stores.redis.payloads import RedisLedger
from flowcore.stores.redis.runs.leases import Leases
from flowcore.stores.redis.runs.store import RedisStore
from flowcore.stores.redis.schedules import RedisSchedules
from flowcore.stores.redis.troubles import RedisTroubles
from tests.contract.harness import make_plan
from tests.deep import count
from tests.engine import poll

pytestmark = pytest.mark.integration

HASTY = Leases(lease=0.02, dispatch=0.02)
PLAN = make_plan([[], []])

#: What may be where a string, a hash or a list is expected.
VALUES: list[Callable[[Any, str], object]] = [
    lambda client, key: client.set(key, b"\xff\xfe\x00"),
    lambda client, key: client.rpush(key, b"x"),
    lambda client, key: client.hset(key, mapping={b"\xff": b"\xff", "state": b"nonsense"}),
    lambda client, key: client.zadd(key, {b"\xff": 1}),
    lambda client, key: client.sadd(key, b"x"),
]

ODD = [b"", b"|", b"||", b"\xff\xfe", b"nobody", b"a|b|", b"x|\x00", b"\xf0|5", b"%s|T", b"r|1e999"]


@pytest.fixture
def client(redis_client: "redis.Redis") -> Any:
    return redis_client


@pytest.fixture
def store(client: Any) -> RedisStore:
    return RedisStore(client, leases=HASTY)


def _submit(store: RunStore, run: str) -> None:
    store.put_plan(PLAN)
    store.submit(NewRun(id=run, plan=PLAN.hash, input=b"\x80"), PLAN)


def _poisons(client: Any, agenda: str, bases: Callable[[str], list[str]]) -> None:
    """Members that cannot be read, and members whose keys hold something else."""
    client.zadd(agenda, dict.fromkeys(ODD, 1))
    for number, put in enumerate(VALUES):
        for part, key in enumerate(bases(f"poison-{number}")):
            client.delete(key)
            put(client, key)
            client.zadd(agenda, {f"poison-{number}|{part}": 1, f"poison-{number}|T": 1})


def _run_keys(run: str) -> list[str]:
    parts = ("run", "st", "own", "late", "att", "ev", "lost", "err")
    return [f"fc:{{{run}}}:{part}" for part in parts]


@pytest.fixture
def troubles(client: Any) -> RedisTroubles:
    return RedisTroubles(client)


class Published:
    """A dispatcher that notes what it is given; some of it, it cannot publish."""

    def __init__(self, *, cannot: str = "nothing") -> None:
        self.runs: set[str] = set()
        self._cannot = cannot

    def publish(self, dispatch: Dispatch, plan: Plan) -> None:
        if dispatch.run == self._cannot:
            raise TypeError("cannot be published")
        assert plan == PLAN
        self.runs.add(dispatch.run)


def _janitor(store: RedisStore, dispatcher: Published) -> Janitor:
    return Janitor(store=store, dispatcher=dispatcher, backlog=lambda _: 0)


def test_a_poisoned_agenda_holds_up_no_run(
    client: Any, store: RedisStore, troubles: RedisTroubles
) -> None:
    _poisons(client, "fc:agenda", _run_keys)
    for number in range(5):
        _submit(store, f"fine-{number}")
    published = Published()
    janitor = _janitor(store, published)

    def all_published() -> bool:
        janitor.step()
        return published.runs >= {f"fine-{number}" for number in range(5)}

    poll(all_published, what="the runs that are fine")
    found = {one.item: one for one in troubles.troubles()}
    assert {one.loop for one in found.values()} == {"runs"}
    assert "nobody" in found
    assert any("WRONGTYPE" in one.why for one in found.values())
    later = client.zscore("fc:agenda", "nobody") / 1000 - client.time()[0]
    assert later > 5, "it is left for later"


def test_a_run_whose_structures_are_damaged_at_random_holds_up_no_other(
    client: Any, store: RedisStore
) -> None:
    dice = random.Random(23)
    for number in range(count(40, 2000)):
        bad, fine = f"bad-{number}", f"fine-{number}"
        _submit(store, bad)
        _submit(store, fine)
        for _ in range(dice.randint(1, 3)):
            key = dice.choice(_run_keys(bad))
            client.delete(key)
            dice.choice(VALUES)(client, key)
        client.zadd("fc:agenda", {f"{bad}|{dice.choice('TRKUF01x')}": 1})
        client.zadd("fc:agenda", {f"{fine}|0": 2, f"{fine}|1": 2})
        published = Published()
        _janitor(store, published).step()
        assert fine in published.runs, number


def test_a_dispatch_that_cannot_be_published_holds_up_no_other(store: RedisStore) -> None:
    for run in ("a", "bad", "c"):
        _submit(store, run)
    published = Published(cannot="bad")
    janitor = _janitor(store, published)
    ends = {"a", "c"}

    def step() -> bool:
        janitor.step()
        return published.runs >= ends

    poll(step, what="the other runs")
    assert janitor.isolation.held == 1


def test_a_run_whose_plan_is_gone_holds_up_no_other(client: Any, store: RedisStore) -> None:
    for run in ("lost", "fine"):
        _submit(store, run)
    client.hset("fc:{lost}:run", "plan", "0" * 32)
    published = Published()
    janitor = _janitor(store, published)
    poll(lambda: (janitor.step(), "fine" in published.runs)[1], what="the other run")


def test_an_end_that_cannot_be_told_holds_up_no_other(store: RedisStore) -> None:
    for run in ("a", "bad", "c"):
        _submit(store, run)
    told: set[str] = set()

    def tell(runs: Any) -> None:
        if "bad" in runs:
            raise KeyError("bad")
        told.update(runs)

    client: Any = store.client
    for run in ("a", "bad", "c"):
        client.zadd("fc:agenda", {f"{run}|T": 1})
    janitor = Janitor(store=store, dispatcher=Published(), backlog=lambda _: 0, on_finished=tell)
    poll(lambda: (janitor.step(), told == {"a", "c"})[1], what="the ends of the others")


def test_a_server_that_takes_no_writes_is_no_trouble_of_an_item_s(
    client: Any, store: RedisStore, troubles: RedisTroubles
) -> None:
    _submit(store, "fine")
    client.zadd("fc:agenda", {"fine|0": 1})
    used = client.info("memory")["used_memory"]
    client.config_set("maxmemory", used // 2)
    try:
        with pytest.raises(StoreFullError):
            store.sweep()
    finally:
        client.config_set("maxmemory", 0)
    assert not troubles.troubles()
    assert [dispatch.run for dispatch, _ in store.sweep().overdue] == ["fine"]


def test_a_poisoned_schedule_holds_up_no_other(client: Any) -> None:
    book = RedisSchedules(client)
    for number in range(3):
        name = f"fine-{number}"
        book.put(Schedule(name=name, flow="f", every=60.0, due=5.0), expected=None)
    for number, blob in enumerate(
        (b"", b"\xc1", b"\x01", b"\x81\xa1a", msgpack.packb({"name": "x"}))
    ):
        client.hset("fc:schedules:", f"bad-{number}", blob)
        client.zadd("fc:schedules:due:", {f"bad-{number}": 1})
    client.zadd("fc:schedules:due:", {b"\xff": 1})
    due = {one.name: one for one in book.due(10.0)}
    assert set(due) == {f"fine-{n}" for n in range(3)} | {f"bad-{n}" for n in range(5)}
    assert all(one.is_unreadable for one in due.values() if one.name.startswith("bad"))
    assert all("cannot be read" in str(one.trouble) for one in book.schedules() if not one.flow)
    assert len(book.schedules()) == 8
    assert book.put(Schedule(name="bad-0", flow="f", every=1.0), expected=0), "put anew"
    assert book.remove("bad-1")


def test_a_later_release_s_schedule_is_read_without_what_is_new(client: Any) -> None:
    book = RedisSchedules(client)
    book.put(Schedule(name="s", flow="f", every=60.0, input={"a": 2}), expected=None)
    kept = msgpack.unpackb(client.hget("fc:schedules:", "s"), strict_map_key=False)
    client.hset("fc:schedules:", "s", msgpack.packb({**kept, "moon": "full"}))
    assert book.get("s") == Schedule(name="s", flow="f", every=60.0, input={"a": 2}, revision=1)


def test_a_poisoned_task_of_an_agent_holds_up_no_other(client: Any) -> None:
    leases = AgentLeases(lease=0.02, dispatch=0.02, retention=60.0, max_lost=9)
    store = RedisAgents(client, client, leases=leases)
    _poisons(client, "fc:a2a:agenda", lambda task: [f"fc:{{a2a:{task}}}:task"])
    client.zadd("fc:a2a:agenda", {f"T|poison-{number}": 1 for number in range(len(VALUES))})
    message = Message(parts=(Part(text="x"),), message_id="m", task_id="fine", context_id="c")
    packed = msgpack.packb(message.to_json())
    new = NewTask(task="fine", agent="echo", counts_as="m", message=packed, context="c")
    store.tell(new)
    poll(lambda: [bell for bell in store.sweep() if bell.task == "fine"], what="the doorbell")


def test_a_poisoned_run_holds_up_the_callbacks_of_no_other(client: Any, store: RedisStore) -> None:
    for run in ("bad-row", "bad-cursor", "fine"):
        _submit(store, run)
    for number, put in enumerate(VALUES):
        client.delete("fc:{bad-row}:run")
        put(client, "fc:{bad-row}:run")
        client.delete("fc:{bad-cursor}:cb")
        client.rpush("fc:{bad-cursor}:cb", "x")
        space = f"space-{number}"
        client.hset("fc:{fine}:run", "ns", space)
        client.hset("fc:{bad-cursor}:run", "ns", space)
        desk = RedisCallbackDesk(client, namespace=space)
        turn = poll(partial(desk.take, lease=60), what="a turn")
        assert turn.run == "fine"


def test_a_poisoned_space_holds_up_the_removal_of_no_other(client: Any) -> None:
    ledger = RedisLedger(client, look=60)
    gone = ledger.enter("gone")
    client.zadd("fc:payloads:due", dict.fromkeys([*ODD, gone.encode(), b"bad.1"], 1))
    client.hset("fc:payloads", "bad", "1")
    client.rpush("fc:{bad}:run", "x")
    assert gone in (ledger.orphans() or ())


def test_troubles_are_few_and_of_late(client: Any, troubles: RedisTroubles) -> None:
    for number in range(250):
        troubles.note("runs", f"run-{number}", "why")
    troubles.note("runs", "run-249", "why\N{SNOWMAN}")
    found = troubles.troubles()
    assert len(found) == 200
    assert (found[0].item, found[0].count) in {("run-249", 2), (found[0].item, 1)}
    assert {one.count for one in found if one.item == "run-249"} == {2}
    client.hset("fc:troubles", "runs|old", msgpack.packb([3, 1, 1, "long ago"]))
    client.hset("fc:troubles", "runs|odd", b"\xc1")
    assert len(troubles.troubles()) == 200
    troubles.clear("runs", "run-249")
    assert len(troubles.troubles()) == 199
