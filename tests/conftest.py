"""Fixtures that every test may use."""

import pytest

from tests.services import redis_client, valkey_server

__all__ = ["anyio_backend", "redis_client", "valkey_server"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio."""
    return "asyncio"
