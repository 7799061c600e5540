"""Fixtures that every test may use."""

import pytest
from hypothesis import settings

from tests.deep import count
from tests.services import redis_client, valkey_server

#: Runs pytest on the suites of others.
pytest_plugins = ["pytester"]

__all__ = ["anyio_backend", "pytest_addoption", "redis_client", "valkey_server"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--broker`` runs each test of an engine on one broker, instead of where it is marked for."""
    parser.addoption("--broker", choices=["redis", "rabbitmq"], help="the broker of engines")


#: Files that take a minute or more, and sleep for most of it: begun last, they would be waited for.
_LONG = ("test_faults.py", "test_rabbitmq.py", "test_sentinel.py", "test_native_survival.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, and mark campaigns.

    xdist hands files out in this order. A module that takes its counts from ``tests.deep`` is a
    campaign: ``make deep`` runs all of it.
    """
    items.sort(key=lambda item: item.path.name not in _LONG)
    for item in items:
        if isinstance(item, pytest.Function) and vars(item.module).get("count") is count:
            item.add_marker("deep")


# A busy machine is no bug: no test fails for the time it takes.
settings.register_profile("flowcore", deadline=None)
settings.load_profile("flowcore")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio."""
    return "asyncio"
