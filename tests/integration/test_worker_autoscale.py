"""``--autoscale``: a parent knows the work of its children while the pool grows and shrinks."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from flowcore import Run
from flowcore.run.status import RunState
from tests.command import Command, flowcore_worker
from tests.engine import Engine, poll, running_engine
from tests.services import running_valkey

pytestmark = pytest.mark.integration

MOST = 4


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    home = tmp_path_factory.mktemp("autoscale")
    with running_valkey() as url, running_engine(url, home) as engine:
        yield engine


@pytest.fixture(scope="module")
def command(engine: Engine) -> Iterator[Command]:
    """A worker that grows at once, and shrinks after half a second without messages."""
    url = engine.session.runtime.redis_url
    with flowcore_worker(
        url, engine.home, "--autoscale", f"{MOST},1", AUTOSCALE_KEEPALIVE="0.5"
    ) as command:
        yield command


def _children(command: Command) -> set[int]:
    return {child.pid for child in command.worker().children()}


def _shrunk(command: Command) -> bool:
    return len(_children(command)) == 1


def _held(engine: Engine, gate: Path, mark: Path, *, count: int = MOST) -> list[Run]:
    """Runs whose nodes hold a process each until the gate is there."""
    given = {"path": str(gate), "mark": str(mark)}
    node = {"uses": "engine_nodes:wait_for", "with": given}
    return [engine.start({"held": node}) for _ in range(count)]


def _are(count: int, mark: Path) -> bool:
    return len(_pids(mark)) == count


def _pids(mark: Path) -> set[int]:
    return {int(pid) for pid in mark.read_text().split()} if mark.exists() else set()


def test_a_pool_grows_with_what_waits_and_shrinks_after_it(
    engine: Engine, command: Command, tmp_path: Path
) -> None:
    for turn in range(3):
        gate, mark = tmp_path / f"gate{turn}", tmp_path / f"mark{turn}"
        runs = _held(engine, gate, mark)
        poll(partial(_are, MOST, mark), what="as many nodes at once")
        assert _pids(mark) <= _children(command)
        gate.write_text("went")
        for run in runs:
            result = run.wait(60)
            assert result.success
            assert run.record().nodes["held"].attempts == 1
        poll(lambda: _shrunk(command), what="the pool to shrink")
    (note,) = engine.session.runtime.board.workers()
    assert note.concurrency == MOST, "it takes as many at once"


def test_a_child_that_came_later_is_ended_at_its_time_limit_and_the_others_go_on(
    engine: Engine, command: Command, tmp_path: Path
) -> None:
    gate, mark, spun = tmp_path / "gate", tmp_path / "mark", tmp_path / "spun"
    runs = _held(engine, gate, mark, count=MOST - 1)
    poll(lambda: len(_pids(mark)) == MOST - 1, what="the pool to be nearly full")
    spin = {"uses": "spinning_nodes:spin", "with": {"mark": str(spun)}, "timeout": "1s"}
    late = engine.start({"spin": spin})
    poll(spun.exists, what="the node to begin")
    assert late.wait(60).state is RunState.FAILED
    failed = late.record().nodes["spin"]
    assert failed.error is not None
    assert (failed.error.type, failed.attempts) == ("NodeTimeoutError", 1)
    poll(lambda: not _pids(spun) & _children(command), what="its process to be ended")
    assert _pids(mark) <= _children(command), "the others were not"
    gate.write_text("went")
    assert all(run.wait(60).success for run in runs)
    poll(lambda: _shrunk(command), what="the pool to shrink")


def test_a_child_that_dies_in_a_pool_that_has_grown_is_replaced_and_its_node_begun_again(
    engine: Engine, command: Command, tmp_path: Path
) -> None:
    gate, mark = tmp_path / "gate", tmp_path / "mark"
    runs = _held(engine, gate, mark)
    poll(lambda: len(_pids(mark)) == MOST, what="as many nodes at once")
    victim = max(_pids(mark), key=lambda pid: psutil.Process(pid).create_time())
    psutil.Process(victim).kill()
    poll(lambda: len(_pids(mark)) > MOST, what="its node to be begun again")
    gate.write_text("went")
    assert all(run.wait(60).success for run in runs)
    poll(lambda: _shrunk(command), what="the pool to shrink")
