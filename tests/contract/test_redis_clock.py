"""The scripts on the server's own clock: nothing here moves time by hand."""

import time

import pytest
import redis

from flowcore.ports.store import AttemptRef, NewRun, Outcome, SweepResult
from flowcore.stores.redis.runs.leases import Leases
from flowcore.stores.redis.runs.store import RedisStore
from tests.contract.harness import RUN, make_plan

pytestmark = pytest.mark.integration

LEASES = Leases(lease=0.05, dispatch=0.05, retention=0.05)
ONE = make_plan([[]])


@pytest.fixture
def store(redis_client: "redis.Redis") -> RedisStore:
    store = RedisStore(redis_client, leases=LEASES)
    store.submit(NewRun(id=RUN, plan=ONE.hash, input=b"\x80"), ONE)
    return store


def sweep_until_due(store: RedisStore) -> SweepResult:
    """Sleep as long as the store says, then sweep: it must find what it announced."""
    ahead = store.sweep().next_due
    assert ahead is not None
    assert 0 < ahead <= 0.05
    time.sleep(ahead + 0.001)
    return store.sweep()


def test_leases_and_retention_run_out_by_themselves(
    store: RedisStore, redis_client: "redis.Redis"
) -> None:
    ((dispatch, late),) = sweep_until_due(store).overdue
    assert (dispatch.nodes, late) == (((0, 1),), 1)
    assert store.claim(AttemptRef(run=RUN, node=0, attempt=1), worker="w1")
    (again,) = sweep_until_due(store).dispatches
    assert again.nodes == ((0, 2),)
    second = AttemptRef(run=RUN, node=0, attempt=2)
    assert store.claim(second, worker="w2")
    assert store.settle(second, Outcome(kind="succeeded")).finished
    assert sweep_until_due(store).next_due is None
    assert sorted(redis_client.keys("fc:*")) == [f"fc:plan:{ONE.hash}".encode()]
    assert 0 < redis_client.pttl(f"fc:plan:{ONE.hash}") <= 3_600_050, "readers may still want it"


def test_a_server_that_forgot_the_scripts_is_taught_again(
    store: RedisStore, redis_client: "redis.Redis"
) -> None:
    assert store.claim(AttemptRef(run=RUN, node=0, attempt=1), worker="w1")
    redis_client.script_flush()
    assert store.renew([AttemptRef(run=RUN, node=0, attempt=1)]) == {}
