"""Which accepted runs a planned failover loses: some, or with FLOWCORE_REPLICAS none."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flowcore import Flow, Session
from flowcore.assembly.settings import Settings
from flowcore.client.flow import start_run
from flowcore.errors import FlowcoreError, StoreUnreachableError
from flowcore.stores.redis.runs import replicas as replicas_module
from tests.brokers import Replicated, running_replicated
from tests.engine import poll

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PLAN = Flow.load({"id": "lost", "nodes": {"a": {"uses": "passthrough"}}}).plan()


@pytest.fixture
def replicated() -> Iterator[Replicated]:
    with running_replicated() as servers:
        yield servers


@contextmanager
def _session(replicated: Replicated, home: Path, **more: str) -> Iterator[Session]:
    given = {f"FLOWCORE_{name.upper()}": value for name, value in more.items()}
    environ = {"FLOWCORE_REDIS_URL": replicated.url, "FLOWCORE_HOME": str(home), **given}
    with Session(Settings.from_env(environ), environ=environ) as session:
        yield session


def _accepted_through_a_failover(replicated: Replicated, session: Session) -> tuple[int, list[str]]:
    """Submit while a failover is made; how many were accepted, and those of them that are gone."""
    accepted: list[str] = []
    promoted, ends = threading.Event(), threading.Event()
    after = [0]

    def submit() -> None:
        for number in itertools.count():
            if ends.is_set():
                return
            name = f"run-{number}"
            try:
                start_run(session, PLAN, None, id=name)
            except FlowcoreError:
                continue
            accepted.append(name)
            after[0] += promoted.is_set()

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        poll(lambda: len(accepted) >= 20, what="runs before the failover")
        replicated.sentinel("FAILOVER", replicated.NAME)
        poll(replicated.replica_is_promoted, what="the replica to be promoted")
        promoted.set()
        poll(lambda: after[0] >= 20, what="runs after the promotion")
        # Sentinels tell the old primary after some ten seconds; here it hears now.
        with replicated.client(0) as primary:
            primary.replicaof("127.0.0.1", replicated.ports[1])
        count = len(accepted)
        poll(lambda: len(accepted) >= count + 20, what="runs on the new primary")
    finally:
        ends.set()
        thread.join()
    reader = session.runtime.reader
    return len(accepted), [name for name in accepted if reader.summary(name) is None]


def test_a_run_that_a_replica_has_outlives_a_planned_failover(
    replicated: Replicated, tmp_path: Path
) -> None:
    with _session(replicated, tmp_path, replicas="1") as session:
        accepted, lost = _accepted_through_a_failover(replicated, session)
    assert accepted >= 60
    assert lost == []


def test_without_it_a_planned_failover_loses_accepted_runs(
    replicated: Replicated, tmp_path: Path
) -> None:
    """The control: else the test above would show nothing."""
    with _session(replicated, tmp_path) as session:
        _, lost = _accepted_through_a_failover(replicated, session)
    assert lost


def test_a_submit_that_no_replica_has_fails_with_the_way_out(
    replicated: Replicated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicas_module, "PATIENCE", 0.6)
    with _session(replicated, tmp_path, replicas="2") as session:
        began = time.monotonic()
        with pytest.raises(StoreUnreachableError) as error:
            start_run(session, PLAN, None, id="run-1")
        assert time.monotonic() - began < 30
    assert str(error.value) == (
        "run 'run-1' is written, but 1 of 2 replicas have it after 0.6 s, and it would be lost "
        "with its primary: see that they are up (FLOWCORE_REPLICAS), then submit it again with "
        "this id, which is the same run"
    )
    with _session(replicated, tmp_path, replicas="1") as session:
        assert start_run(session, PLAN, None, id="run-1").id == "run-1"
        assert len(session.runtime.reader.states("run-1", [0])) == 1
