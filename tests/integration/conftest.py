"""Engines shared by the integration tests: starting a worker takes seconds.

A test marked ``both_brokers`` runs on Redis and on RabbitMQ; ``pytest --broker rabbitmq`` runs each
test there that uses an engine of this page.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.brokers import RabbitServer, running_rabbitmq
from tests.engine import Engine, running_engine
from tests.services import running_valkey

__all__ = ["MakeEngine", "pytest_generate_tests"]

#: Called with a directory and settings.
MakeEngine: TypeAlias = Callable[..., AbstractContextManager[Engine]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on the brokers that it is marked for."""
    if "broker" not in metafunc.fixturenames:
        return
    marked = metafunc.definition.get_closest_marker("both_brokers")
    only = metafunc.config.getoption("--broker")
    names = [only] if only else ["redis", "rabbitmq"] if marked else ["redis"]
    metafunc.parametrize("broker", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitServer]:
    """The session's RabbitMQ."""
    with running_rabbitmq() as server:
        yield server


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> str:
    """The name of the broker."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def make_engine(request: pytest.FixtureRequest, broker: str) -> MakeEngine:
    """Makes engines on a Valkey of their own, with messages there or on a virtual host."""

    @contextmanager
    def make(home: Path, **settings: str) -> Iterator[Engine]:
        with ExitStack() as stack:
            url = stack.enter_context(running_valkey())
            if broker == "rabbitmq":
                server: RabbitServer = request.getfixturevalue("rabbitmq")
                settings = {"broker_url": server.fresh(), **settings}
            yield stack.enter_context(running_engine(url, home, **settings))

    return make


@pytest.fixture(scope="session")
def engine(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One server and one prefork worker with two children."""
    with make_engine(tmp_path_factory.mktemp("engine"), heartbeat="0.25") as engine:
        engine.workers()
        yield engine


@pytest.fixture(scope="session")
def threaded(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One server and one worker with four threads."""
    with make_engine(tmp_path_factory.mktemp("threaded"), heartbeat="0.25") as engine:
        engine.workers(pool="threads", slots=4)
        yield engine


@pytest.fixture
def fragile(make_engine: MakeEngine, tmp_path: Path) -> Iterator[Engine]:
    """An engine of this test's own, with short leases."""
    short = {"lease": "1.0", "heartbeat": "0.25", "dispatch_lease": "1.0", "max_lost": "2"}
    with make_engine(tmp_path, **short) as engine:
        yield engine
