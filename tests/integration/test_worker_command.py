"""``flowcore worker`` with a URL: supervised, started again, ended within its grace."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flowcore.run.status import NodeState
from tests.command import flowcore_worker
from tests.engine import Engine, poll, running_engine
from tests.services import running_valkey

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def valkey() -> Iterator[str]:
    with running_valkey() as url:
        yield url


@pytest.fixture
def engine(valkey: str, tmp_path: Path) -> Iterator[Engine]:
    with running_engine(valkey, tmp_path) as engine:
        yield engine


def _spinning(engine: Engine, mark: Path, uses: str = "spinning_nodes:spin") -> Callable[[], Any]:
    run = engine.start({"spin": {"uses": uses, "with": {"mark": str(mark)}}})
    poll(mark.exists, what="the node to begin")
    return run.cancel


def test_a_worker_that_crashes_is_started_again_and_says_so_on_the_supervisors_output(
    engine: Engine, valkey: str, tmp_path: Path
) -> None:
    with flowcore_worker(valkey, tmp_path) as command:
        first = command.worker()
        first.kill()
        command.ready(2)
        assert command.worker() != first
        assert engine.run({"a": {"uses": "spinning_nodes:where"}}).success
        assert "celery@" in command.log.read_text() or "ready." in command.log.read_text()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_sigterm_ends_a_worker_within_its_grace_whatever_its_nodes_do(
    engine: Engine, valkey: str, tmp_path: Path, pool: str
) -> None:
    with flowcore_worker(valkey, tmp_path, "--pool", pool, "--concurrency", "2") as command:
        cancel = _spinning(engine, tmp_path / "mark")
        family = psutil.Process(command.process.pid).children(recursive=True)
        command.process.send_signal(signal.SIGTERM)
        assert command.process.wait(timeout=60) == 0
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []
    cancel()


def test_sigterm_lets_nodes_end_that_end_within_the_grace(
    engine: Engine, valkey: str, tmp_path: Path
) -> None:
    go, mark = tmp_path / "go", tmp_path / "mark"
    with flowcore_worker(valkey, tmp_path, "--concurrency", "1") as command:
        given = {"path": str(go), "mark": str(mark)}
        run = engine.start({"held": {"uses": "engine_nodes:wait_for", "with": given}})
        poll(mark.exists, what="the node to begin")
        command.process.send_signal(signal.SIGTERM)
        poll(lambda: "Warm shutdown" in command.log.read_text(), what="the worker to be told")
        go.write_text("went")
        assert command.process.wait(timeout=60) == 0
        assert run.record().nodes["held"].state is NodeState.SUCCEEDED


def test_what_does_not_end_within_the_grace_is_handed_back(valkey: str, tmp_path: Path) -> None:
    go, mark = tmp_path / "go", tmp_path / "mark"
    with running_engine(valkey, tmp_path, lease="600") as engine:
        more = {"FLOWCORE_LEASE": "600"}
        with flowcore_worker(valkey, tmp_path, "--grace", "16", **more) as command:
            given = {"path": str(go), "mark": str(mark)}
            run = engine.start({"held": {"uses": "engine_nodes:wait_for", "with": given}})
            poll(mark.exists, what="the node to begin")
            command.process.send_signal(signal.SIGTERM)
            assert command.process.wait(timeout=60) == 0
        with flowcore_worker(valkey, tmp_path, **more):
            poll(lambda: len(mark.read_text().split()) == 2, what="another worker to have it")
            go.write_text("went")
            assert run.wait(60).success


def test_a_worker_that_was_told_to_end_by_celery_is_not_started_again(
    engine: Engine, valkey: str, tmp_path: Path
) -> None:
    with flowcore_worker(valkey, tmp_path) as command:
        worker = command.worker()
        worker.send_signal(signal.SIGTERM)
        assert command.process.wait(timeout=60) == 0
    assert worker.pid not in {note.pid for note in engine.session.runtime.board.workers()}


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_no_worker_outlives_a_supervisor_that_is_killed(
    engine: Engine, valkey: str, tmp_path: Path, pool: str
) -> None:
    with flowcore_worker(valkey, tmp_path, "--pool", pool, "--concurrency", "2") as command:
        cancel = _spinning(engine, tmp_path / "mark")
        family = psutil.Process(command.process.pid).children(recursive=True)
        command.process.kill()
        _, alive = psutil.wait_procs(family, timeout=30)
        assert alive == []
    cancel()


def test_no_child_outlives_a_parent_that_is_killed_under_bare_celery(
    engine: Engine, tmp_path: Path
) -> None:
    workers = engine.workers(slots=2)
    workers.end(signal.SIGCONT)  # nobody starts another one, nor looks after this one's group
    cancel = _spinning(engine, tmp_path / "mark")
    parent = psutil.Process(workers.pids[0])
    family = parent.children(recursive=True)
    assert len(family) == 2
    parent.kill()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []
    cancel()
