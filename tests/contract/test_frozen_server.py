"""One of two servers hangs: what is on the other goes on, and who needs it is told its name."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from flowcore import Flow, Run, Session
from flowcore.assembly.settings import Settings
from flowcore.errors import StoreUnreachableError
from flowcore.ports.reader import RunQuery
from flowcore.ports.store import NewRun
from flowcore.stores.redis.connection.capacity import RedisRoom
from flowcore.stores.redis.connection.connect import connect
from flowcore.stores.redis.connection.placement import server_name
from flowcore.stores.redis.runs.event_log import RedisEventLog
from flowcore.stores.redis.runs.leases import Leases
from flowcore.stores.redis.runs.reader import RedisReader
from flowcore.stores.redis.runs.store import RedisStore
from flowcore.stores.redis.sharding.runs import ShardedReader, ShardedStore
from flowcore.stores.redis.sharding.shard import Shard
from flowcore.stores.redis.workers import RedisWorkerBoard
from tests.contract.harness import make_plan
from tests.services import running_valkey

pytestmark = pytest.mark.integration

PLAN = make_plan([[]])


def _shard(url: str) -> Shard:
    client = connect(url)
    store = RedisStore(client, leases=Leases())
    events = RedisEventLog(client, connect(url, blocking=True), plans=store)
    return Shard(
        name=server_name(url),
        store=store,
        reader=RedisReader(client, plans=store, events=events),
        events=events,
        board=RedisWorkerBoard(client),
        room=RedisRoom(client),
    )


@contextmanager
def _two_servers() -> Iterator[tuple[str, str, int]]:
    """Their URLs, and the process of the second."""
    with running_valkey() as first, running_valkey() as second:
        with redis.Redis.from_url(second) as client:
            about: Any = client.info("server")
        yield first, second, int(about["process_id"])


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def town() -> Iterator[tuple[ShardedStore, int]]:
    """A store on two servers, and the number of the one that hangs."""
    with _two_servers() as (first, second, pid):
        store = ShardedStore([_shard(first), _shard(second)])
        store.put_plan(PLAN)
        with _stopped(pid):
            yield store, 1


def _submit(store: ShardedStore, run: str) -> None:
    store.submit(NewRun(id=run, plan=PLAN.hash, input=b"\x80", fresh=True), PLAN)


def test_a_server_that_hangs_holds_up_its_own_runs_only(town: tuple[ShardedStore, int]) -> None:
    store, frozen = town
    names = [f"run-{number}" for number in range(40)]
    there = [run for run in names if store.placement.home(run) == frozen]
    here = [run for run in names if store.placement.home(run) != frozen]
    assert there
    began = time.monotonic()
    with pytest.raises(StoreUnreachableError, match=store.shards[frozen].name):
        _submit(store, there[0])
    assert time.monotonic() - began < 15, "4 s on an idle machine, not the 75 of all retries"
    for run in here:
        _submit(store, run)
    for run in there[:5]:
        with pytest.raises(StoreUnreachableError, match=store.shards[frozen].name):
            _submit(store, run)
    rows = ShardedReader(store).list_runs(RunQuery(limit=100))
    assert {row.id for row in rows} == set(here)
    assert store.sweep().next_due is not None


def test_a_flow_is_started_on_the_other_server_and_refused_with_the_name_of_the_one_that_hangs(
    tmp_path: Path,
) -> None:
    flow = Flow.load({"id": "f", "nodes": {"a": {"uses": "start"}}})
    with _two_servers() as (first, second, pid):
        environ = {"FLOWCORE_REDIS_URL": f"{first},{second}", "FLOWCORE_HOME": str(tmp_path)}
        with Session(Settings.from_env(environ), environ=environ) as session:
            store = session.runtime.store
            assert isinstance(store, ShardedStore)
            names = [f"run-{number}" for number in range(20)]
            there = [run for run in names if store.placement.home(run) == 1]
            here = [run for run in names if store.placement.home(run) == 0]
            flow.enqueue(id=here[0], session=session)
            with _stopped(pid):
                began = time.monotonic()
                with pytest.raises(StoreUnreachableError, match=server_name(second)):
                    flow.enqueue(id=there[0], session=session)
                assert time.monotonic() - began < 15, "about 5 s on an idle machine"
                for run in here[1:4]:
                    flow.enqueue(id=run, session=session)
                assert {row.id for row in Run.list(session=session)} == set(here[:4])
