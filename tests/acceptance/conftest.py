"""The process's default session, pointed at a server and a worker of the tests' own."""

from collections.abc import Iterator
from typing import TypeAlias

import pytest

from flowcore import Session
from flowcore.client import flow as flow_module
from flowcore.client import queries as finding_module
from flowcore.client import run as handle_module
from tests.engine import running_engine
from tests.services import running_valkey

DefaultSession: TypeAlias = Session


@pytest.fixture(scope="session")
def engine_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session with one worker of two children, and one that hosts the nodes' agents."""
    with (
        running_valkey() as url,
        running_engine(url, tmp_path_factory.mktemp("acceptance"), heartbeat="0.25") as engine,
    ):
        engine.workers()
        engine.workers(pool="threads", queues="a2a-nodes")
        yield engine.session


@pytest.fixture
def default_session(engine_session: Session, monkeypatch: pytest.MonkeyPatch) -> Session:
    """What ``default_session()`` gives to code that names no session."""
    for module in (finding_module, flow_module, handle_module):
        monkeypatch.setattr(module, "default_session", lambda: engine_session)
    return engine_session
