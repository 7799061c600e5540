"""A sweep that a frozen server does too late is none."""

from collections.abc import Callable

import pytest
import redis

from flowcore.errors import StoreUnreachableError
from flowcore.stores.redis.runs.store import RedisStore
from tests.contract.harness import LEASES, RUN, Clock, Harness, make_plan, on_redis

ONE = make_plan([[]])


@pytest.fixture
def mine() -> Clock:
    """The clock of the janitor's process."""
    return Clock()


@pytest.fixture
def swept(redis_client: "redis.Redis", mine: Clock) -> tuple[Harness, Callable[[], object]]:
    """A store with a node whose lease is over on the server's clock, and a janitor."""
    it = on_redis(redis_client)
    store = it.reopened()
    assert isinstance(store, RedisStore)
    store._sweeper._clock = mine
    it.submit(ONE)
    assert it.claim(0) is not None
    store.sweep()
    return it, store.sweep


def test_a_sweep_that_has_waited_for_the_server_takes_nothing_from_its_holder(
    swept: tuple[Harness, Callable[[], object]],
) -> None:
    it, sweep = swept
    it.advance(LEASES.lease + 1)  # in which no time has passed for the janitor
    with pytest.raises(StoreUnreachableError, match="too late"):
        sweep()
    assert "node.lost" not in it.told()
    sweep()
    assert it.told().count("node.lost") == 1, "the next one knows the time"


def test_a_sweep_that_comes_in_time_does_its_work(
    swept: tuple[Harness, Callable[[], object]], mine: Clock
) -> None:
    it, sweep = swept
    for clock in (it, mine):
        clock.advance(LEASES.lease + 1)
    sweep()
    assert it.told().count("node.lost") == 1
    assert it.claim(0, 2, run=RUN) is not None
