"""Fixtures that every test may use."""

import pytest
from hypothesis import settings

from tests.services import redis_client, valkey_server

__all__ = ["anyio_backend", "pytest_addoption", "redis_client", "valkey_server"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--broker`` runs each test of an engine on one broker, instead of where it is marked for."""
    parser.addoption("--broker", choices=["redis", "rabbitmq"], help="the broker of engines")


# A busy machine is no bug: no test fails for the time it takes.
settings.register_profile("flowcore", deadline=None)
settings.load_profile("flowcore")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio."""
    return "asyncio"
