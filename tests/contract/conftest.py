"""Every contract test runs once per store."""

from collections.abc import Iterator

import pytest
import redis

from tests.contract.harness import Harness, in_memory, on_redis, on_shards
from tests.services import running_valkey


@pytest.fixture(scope="session")
def second_server() -> Iterator[str]:
    """URL of another server."""
    with running_valkey() as url:
        yield url


@pytest.fixture
def two_clients(
    redis_client: "redis.Redis", second_server: str
) -> Iterator[tuple["redis.Redis", "redis.Redis"]]:
    """Clients of two servers, both emptied for this test."""
    with redis.Redis.from_url(second_server) as second:
        second.flushall()
        yield redis_client, second


@pytest.fixture(
    params=[
        "inmemory",
        pytest.param("redis", marks=pytest.mark.integration),
        pytest.param("sharded", marks=pytest.mark.integration),
    ],
)
def it(request: pytest.FixtureRequest) -> Harness:
    """The store under test."""
    if request.param == "inmemory":
        return in_memory()
    if request.param == "sharded":
        return on_shards(request.getfixturevalue("two_clients"))
    return on_redis(request.getfixturevalue("redis_client"))
