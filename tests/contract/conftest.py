"""Every contract test runs once per store."""

import pytest

from tests.contract.harness import Harness, in_memory, on_redis


@pytest.fixture(
    params=["inmemory", pytest.param("redis", marks=pytest.mark.integration)],
)
def it(request: pytest.FixtureRequest) -> Harness:
    """The store under test."""
    if request.param == "inmemory":
        return in_memory()
    return on_redis(request.getfixturevalue("redis_client"))
