"""Several servers as one store: where runs are, and what a server that is down takes with it."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import redis

from flowcore.errors import StoreUnreachableError
from flowcore.ports.presence import WorkerNote
from flowcore.ports.store import NewRun, RunQuery, Sweep, Ticket
from flowcore.run.status import RunState
from flowcore.stores.redis.connect import connect
from flowcore.stores.redis.keys import plan_key, run_key
from flowcore.stores.redis.placing import home_of
from flowcore.stores.redis.presence import RedisWorkerBoard
from flowcore.stores.redis.reader import RedisEventLog, RedisReader
from flowcore.stores.redis.sharded import (
    Shard,
    ShardedEventLog,
    ShardedReader,
    ShardedStore,
    ShardedWorkerBoard,
)
from flowcore.stores.redis.store import Leases, RedisStore
from tests.contract.harness import Harness, make_plan, on_shards
from tests.engine import poll
from tests.services import running_valkey

pytestmark = pytest.mark.integration

CHAIN = make_plan([[], [0]])
ONE = make_plan([[]])
Pair = tuple["redis.Redis", "redis.Redis"]
LEASES = Leases(lease=0.1, dispatch=0.1)
NOTE = WorkerNote(name="celery@here", queues=("q",), concurrency=2, pool="prefork", pid=7)


def _at_home(home: int, count: int = 2) -> Iterator[str]:
    """Ids of runs whose home is this server."""
    names = [f"server-{at}" for at in range(count)]
    return (f"run-{n}" for n in range(1000) if home_of(f"run-{n}", names) == home)


def _shard(at: int, url: str) -> Shard:
    client = connect(url)
    store = RedisStore(client, leases=LEASES)
    events = RedisEventLog(client, connect(url, blocking=True), plans=store)
    reader = RedisReader(client, plans=store, events=events)
    board = RedisWorkerBoard(client)
    return Shard(name=f"server-{at}", store=store, reader=reader, events=events, board=board)


class Town:
    """Two servers, the second of which can be stopped."""

    def __init__(self) -> None:
        self._stay, self._go = ExitStack(), ExitStack()
        urls = [self._stay.enter_context(running_valkey())]
        urls.append(self._go.enter_context(running_valkey()))
        self.store = ShardedStore([_shard(at, url) for at, url in enumerate(urls)], patience=30)
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
        lambda it: it.store.renew([Ticket(run=run, node=1, attempt=1)]) == {},
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
    claim = town.store.claim(Ticket(run=there, node=0, attempt=1), worker="w")
    assert claim is not None
    town.board.post(NOTE, keep=60)
    town.stop_second()

    found = poll(lambda: _due(town.store.sweep()), what="the other server's agenda")
    assert found == {here}
    ticket = Ticket(run=here, node=0, attempt=1)
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


def _due(sweep: Sweep) -> set[str]:
    return {late.run for late, _ in sweep.overdue}


def test_without_any_server_housekeeping_says_so() -> None:
    store = ShardedStore([_shard(at, f"unix:///nowhere/{at}") for at in range(2)], patience=30)
    with pytest.raises(StoreUnreachableError):
        store.sweep()
    with pytest.raises(StoreUnreachableError):
        ShardedReader(store).list_runs(RunQuery())
    with pytest.raises(StoreUnreachableError):
        ShardedWorkerBoard(store).workers()
