"""Outputs that count for all; one suite for both implementations."""

import time

import pytest

from flowcore.ports.cache import Cache
from flowcore.stores.inmemory.cache import InMemoryCache
from flowcore.stores.redis.cache import RedisCache


@pytest.fixture(params=["inmemory", pytest.param("redis", marks=pytest.mark.integration)])
def cache(request: pytest.FixtureRequest) -> Cache:
    if request.param == "redis":
        return RedisCache(request.getfixturevalue("redis_client"))
    return InMemoryCache()


def test_what_was_put_is_there_whole(cache: Cache) -> None:
    value = bytes(range(256)) * 100
    assert cache.get("a") is None
    cache.put("a", value, ttl=60)
    cache.put("b", b"", ttl=60)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (value, b"", None)


def test_the_last_one_counts(cache: Cache) -> None:
    cache.put("a", b"1", ttl=60)
    cache.put("a", b"2", ttl=60)
    assert cache.get("a") == b"2"


def test_it_ends_by_itself(cache: Cache) -> None:
    cache.put("a", b"1", ttl=0.001)
    ends = time.monotonic() + 10
    while cache.get("a") is not None:
        assert time.monotonic() < ends
