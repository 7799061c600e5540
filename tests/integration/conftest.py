"""Engines shared by the integration tests: starting a worker takes seconds."""

from collections.abc import Iterator

import pytest

from tests.engine import Engine, running_engine
from tests.services import running_valkey

__all__: list[str] = []


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One server and one prefork worker with two children."""
    with (
        running_valkey() as url,
        running_engine(url, tmp_path_factory.mktemp("engine"), heartbeat="0.25") as engine,
    ):
        engine.workers()
        yield engine


@pytest.fixture(scope="session")
def threaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One server and one worker with four threads."""
    with (
        running_valkey() as url,
        running_engine(url, tmp_path_factory.mktemp("threaded"), heartbeat="0.25") as engine,
    ):
        engine.workers(pool="threads", slots=4)
        yield engine
