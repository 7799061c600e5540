"""Several servers as one store: where runs are, and what a server that is down takes with it."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, cast

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from flowcore.errors import StoreFullError, StoreUnreachableError
from flowcore.ports.store import AttemptRef, NewRun, RunQuery, SweepResult
from flowcore.ports.workers import WorkerInfo
from flowcore.run.reference import Reference
from flowcore.run.status import RunState
from flowcore.stores.redis.connection.capacity import RedisRoom
from flowcore.stores.redis.connection.connect import connect
from flowcore.stores.redis.connection.placement import home_of
from flowcore.stores.redis.keys import plan_key, run_key
from flowcore.stores.redis.payloads import RedisLedger, RedisPayloads
from flowcore.stores.redis.runs.event_log import RedisEventLog
from flowcore.stores.redis.runs.leases import Leases
from flowcore.stores.redis.runs.reader import RedisReader
from flowcore.stores.redis.runs.store import RedisStore
from flowcore.stores.redis.sharding.events import ShardedEventLog
from flowcore.stores.redis.sharding.payloads import ShardedLedger, ShardedPayloads
from flowcore.stores.redis.sharding.runs import ShardedReader, ShardedStore
from flowcore.stores.redis.sharding.shard import Shard
from flowcore.stores.redis.sharding.workers import ShardedRoom, ShardedWorkerBoard
from flowcore.stores.redis.workers import RedisWorkerBoard
from tests.contract.harness import Clock, Harness, in_memory, make_plan, on_shards
from tests.contract.test_both_stores_agree import Duel
from tests.engine import poll
from tests.services import running_valkey

pytestmark = pytest.mark.integration

CHAIN = make_plan([[], [0]])
ONE = make_plan([[]])
Pair = tuple["redis.Redis", "redis.Redis"]
LEASES = Leases(lease=0.1, dispatch=0.1)
NOTE = WorkerInfo(id="w1", name="celery@here", queues=("q",), concurrency=2, pool="prefork", pid=7)


def _at_home(home: int, count: int = 2) -> Iterator[str]:
    """Ids of runs whose home is this server."""
    names = [f"server-{at}" for at in range(count)]
    return (f"run-{n}" for n in range(1000) if home_of(f"run-{n}", names) == home)


def _shard(at: int, url: str) -> Shard:
    client = connect(url)
    store = RedisStore(client, leases=LEASES)
    events = RedisEventLog(client, connect(url, blocking=True), plans=store)
    reader = RedisReader(client, plans=store, events=events)
    board, room, name = RedisWorkerBoard(client), RedisRoom(client), f"server-{at}"
    return Shard(name=name, store=store, reader=reader, events=events, board=board, room=room)


class Town:
    """Two servers, the second of which can be stopped."""

    def __init__(self) -> None:
        self._stay, self._go = ExitStack(), ExitStack()
        self._urls = [self._stay.enter_context(running_valkey())]
        self._urls.append(self._go.enter_context(running_valkey()))
        self.open()

    def open(self) -> None:
        """Look at both with fresh eyes."""
        shards = [_shard(at, url) for at, url in enumerate(self._urls)]
        self.store = ShardedStore(shards, patience=30)
        self.reader = ShardedReader(self.store)
        self.events = ShardedEventLog(self.store)
        self.board = ShardedWorkerBoard(self.store)

    def submit(self, run: str) -> None:
        assert self.store.submit(NewRun(id=run, plan=ONE.hash, input=b"\x80"), ONE).created

    def stop_second(self) -> None:
        self._go.close()

    def close(self) -> None:
        self._go.close()
        self._stay.close()


@pytest.fixture
def town() -> Iterator[Town]:
    town = Town()
    try:
        yield town
    finally:
        town.close()


def test_each_run_is_whole_on_one_server(two_clients: Pair) -> None:
    it = on_shards(two_clients)
    ids = [next(_at_home(0)), next(_at_home(1))]
    for run in ids:
        it.submit(CHAIN, run)
        it.do(0, run=run)
    for at, client in enumerate(two_clients):
        kept = set(client.keys("fc:*"))
        assert run_key(ids[at], "run").encode() in kept
        assert plan_key(CHAIN.hash).encode() in kept
        assert not [key for key in kept if ids[1 - at].encode() in key]
        agenda = client.zrange("fc:agenda", 0, -1)
        assert agenda == [f"{ids[at]}|1".encode()]


def test_runs_of_all_servers_are_listed_newest_first(two_clients: Pair) -> None:
    it = on_shards(two_clients)
    ids = [f"run-{n}" for n in range(12)]
    for run in ids:
        it.advance(1)
        it.submit(ONE, run)
    assert [row.id for row in it.reader.list_runs(RunQuery())] == ids[::-1]
    assert [row.id for row in it.reader.list_runs(RunQuery(limit=5))] == ids[:-6:-1]
    assert all(client.zcard("fc:runs") for client in two_clients)


def test_dead_letters_of_one_time_stand_as_on_one_server(two_clients: Pair) -> None:
    clock = Clock()
    both = (in_memory(clock), on_shards(two_clients, clock))
    for it in both:
        for n in range(12):
            it.submit(make_plan([[], []], fail_fast=False), f"run-{n}")
        for attempt in range(1, LEASES.max_lost + 2):
            for n in range(12):
                for node in (0, 1):
                    it.claim(node, attempt, run=f"run-{n}")
                    it.settle(node, attempt, run=f"run-{n}", kind="lost")
    ours, theirs = (it.reader.dead_letters(limit=20) for it in both)
    assert len(ours) == 20
    assert len({letter.time for letter in ours}) == 1
    assert ours == theirs


def _before_and_after(clients: Pair) -> tuple[Harness, Harness]:
    """The store of one server, and that of the same and one more."""
    before = on_shards(clients[:1])
    return before, on_shards(clients, before.clock)


def test_a_run_goes_on_after_a_server_was_added(two_clients: Pair) -> None:
    before, after = _before_and_after(two_clients)
    run = next(_at_home(1))  # the new server would be its home
    before.submit(CHAIN, run)
    before.do(0, run=run)
    # Each with nothing remembered.
    for ask in (
        lambda it: it.state(run) is RunState.RUNNING,
        lambda it: it.nodes(run) == "sd",
        lambda it: it.log(run) == before.log(run),
        lambda it: it.reader.input(run) == b"\x80",
        lambda it: it.reader.outputs(run) == {0: b"\x00"},
        lambda it: it.events.wait(run, timeout=0.01) is False,
        lambda it: it.claim(1, run=run) is not None,
        lambda it: it.store.renew([AttemptRef(run=run, node=1, attempt=1)]) == {},
        lambda it: it.settle(1, run=run).accepted,
        lambda it: it.store.stop(run, reason="late") is RunState.SUCCEEDED,
        lambda it: it.events.wait(run, timeout=30),
    ):
        assert ask(on_shards(two_clients, before.clock))
    after.assert_ended_well(run)
    assert not two_clients[1].exists(run_key(run, "run"))


def test_an_id_is_used_once_though_its_home_has_moved(two_clients: Pair) -> None:
    before, after = _before_and_after(two_clients)
    run = next(_at_home(1))
    assert before.submit(ONE, run).created
    again = after.submit(ONE, run)
    assert (again.created, again.state) == (False, RunState.PENDING)
    before.do(0, run=run)
    before.advance(3600)
    after.store.sweep()
    assert after.submit(ONE, run).created, "its retention is over"
    assert two_clients[1].exists(run_key(run, "run"))


def test_a_server_that_is_down_stops_nothing_on_the_other(town: Town) -> None:
    here, there = next(_at_home(0)), next(_at_home(1))
    ids = _at_home(0)
    town.submit(here)
    town.submit(there)
    claim = town.store.claim(AttemptRef(run=there, node=0, attempt=1), worker="w")
    assert claim is not None
    town.board.post(NOTE, keep=60)
    town.stop_second()

    found = poll(lambda: _due(town.store.sweep()), what="the other server's agenda")
    assert found == {here}
    ticket = AttemptRef(run=here, node=0, attempt=1)
    assert town.store.claim(ticket, worker="w")
    assert town.store.renew([ticket, claim.ticket]) == {}
    assert [row.id for row in town.reader.list_runs(RunQuery())] == [here]
    assert town.board.workers() == [NOTE]
    town.board.post(NOTE, keep=60)
    assert town.store.get_plan(ONE.hash) == ONE
    town.submit(next(run for run in ids if run != here))

    for ask in (
        lambda: town.reader.summary(there),
        lambda: town.events.wait(there, timeout=0.01),
        lambda: town.store.claim(claim.ticket, worker="w"),
        lambda: town.store.stop(there, reason="test"),
        lambda: town.submit(next(_at_home(1))),
    ):
        with pytest.raises(StoreUnreachableError):
            ask()


def _large(space: str, payload: bytes) -> Reference:
    digest = hashlib.sha256(payload).hexdigest()
    return Reference(space=space, digest=digest, size=len(payload), place="redis")


def _payloads(clients: Pair, store: ShardedStore) -> tuple[ShardedLedger, ShardedPayloads]:
    ledger = ShardedLedger([RedisLedger(client) for client in clients], store)
    return ledger, ShardedPayloads([RedisPayloads(client) for client in clients], ledger)


def test_large_values_are_where_their_run_is_and_go_with_it(two_clients: Pair) -> None:
    before, after = _before_and_after(two_clients)
    moved, there = [run for run, _ in zip(_at_home(1), range(2), strict=False)]
    before.submit(ONE, moved)
    after.submit(ONE, there)
    assert isinstance(after.store, ShardedStore)
    ledger, payloads = _payloads(two_clients, after.store)
    kept = {run: _large(ledger.enter(run), run.encode()) for run in (moved, there)}
    for run, reference in kept.items():
        payloads.put(reference, run.encode())
    stores = [RedisPayloads(client) for client in two_clients]
    assert stores[0].get(kept[moved]) == moved.encode()
    assert stores[1].get(kept[there]) == there.encode()

    for client in two_clients:
        _make_due(client)
    assert ledger.orphans() == [], "both runs are there"
    assert ledger.orphans() is None
    for run in kept:
        after.do(0, run=run)
    after.advance(3600)
    after.store.sweep()
    for client in two_clients:
        _make_due(client)
    fresh, others = _payloads(two_clients, cast("ShardedStore", after.reopened()))
    gone = fresh.orphans() or ()
    assert sorted(gone) == sorted(reference.space for reference in kept.values())
    for space in gone:
        others.remove(space)
        fresh.forget(space)
    for client in two_clients:
        assert not client.keys("fc:*pl:*")
        assert not client.exists("fc:payloads", "fc:payloads:due")


def _make_due(client: "redis.Redis") -> None:
    spaces: Any = client.zrange("fc:payloads:due", 0, -1)
    for space in spaces:
        client.zadd("fc:payloads:due", {space: 1})


def test_a_server_that_is_full_takes_no_new_runs_and_the_other_does(town: Town) -> None:
    there = _at_home(1)
    known = next(there)
    town.submit(known)
    full = town.store.shards[1].store.client
    full.config_set("maxmemory", int(full.info("memory")["used_memory"] * 1.05))
    town.open()  # a room remembers for two seconds what it saw
    with pytest.raises(StoreFullError):
        town.submit(next(there))
    assert not town.store.submit(NewRun(id=known, plan=ONE.hash, input=b"\x80"), ONE).created
    room = ShardedRoom(town.store, patience=30)
    warning = room.warning()
    assert warning is not None
    assert warning.startswith("server-1: Redis is getting full")
    room.admit()
    assert room.refusal() is None
    town.submit(next(_at_home(0)))


def _due(sweep: SweepResult) -> set[str]:
    return {late.run for late, _ in sweep.overdue}


def test_without_any_server_housekeeping_says_so() -> None:
    store = ShardedStore([_shard(at, f"unix:///nowhere/{at}") for at in range(2)], patience=30)
    with pytest.raises(StoreUnreachableError):
        store.sweep()
    with pytest.raises(StoreUnreachableError):
        ShardedReader(store).list_runs(RunQuery())
    with pytest.raises(StoreUnreachableError):
        ShardedWorkerBoard(store).workers()


class ShardedDuel(Duel):
    """The same schedules against several servers, which sweep each its own agenda."""

    def __init__(self, clients: Pair) -> None:
        super().__init__(clients[0])
        clients[0].flushall()
        clients[1].flushall()
        self.clock = Clock()
        self.pair = (in_memory(self.clock), on_shards(clients, self.clock))

    def both(self, ask: Callable[[Harness], Any]) -> Any:
        return super().both(lambda it: _in_order(ask(it)))

    @rule(lose=st.booleans())
    def sweep(self, *, lose: bool) -> None:
        super().sweep(limit=200, lose=lose)


def _in_order(answer: Any) -> Any:
    """What several servers found overdue has no order."""
    if not isinstance(answer, SweepResult):
        return answer
    return replace(
        answer,
        dispatches=tuple(sorted(answer.dispatches, key=repr)),
        overdue=tuple(sorted(answer.overdue, key=repr)),
    )


def test_shards_agree_with_the_store_in_memory(two_clients: Pair) -> None:
    class Here(ShardedDuel):
        def __init__(self) -> None:
            super().__init__(two_clients)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=15,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
