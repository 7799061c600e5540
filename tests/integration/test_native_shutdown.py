"""A worker that is told to stop lets others have what it cannot end."""

import signal
from pathlib import Path

import psutil
import pytest

from flowcore.run.status import NodeState
from tests.engine import poll, running_engine
from tests.services import running_valkey

pytestmark = pytest.mark.integration


def test_a_cold_shutdown_hands_back_what_runs(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with running_valkey() as url, running_engine(url, tmp_path, lease="600") as engine:
        first = engine.workers(slots=1)
        given = {"path": str(go), "mark": str(tmp_path / "mark")}
        run = engine.start({"long": {"uses": "engine_nodes:wait_for", "with": given}})
        poll((tmp_path / "mark").exists, what="the node to begin")
        engine.workers(slots=1)
        (parent,) = (psutil.Process(pid) for pid in first.pids)
        parent.send_signal(signal.SIGQUIT)
        poll(lambda: len((tmp_path / "mark").read_text().split()) == 2, what="another worker")
        assert run.record().nodes["long"].state is NodeState.RUNNING
        go.write_text("done")
        result = run.wait(timeout=60)
        assert result.output == "done"
        assert result.nodes["long"].attempts == 2


def test_a_worker_that_has_stopped_consuming_is_started_again(tmp_path: Path) -> None:
    with running_valkey() as url, running_engine(url, tmp_path, stalled="2") as engine:
        engine.workers(slots=1, include="jam")
        poll((tmp_path / "jammed").exists, what="the consumer to hang")
        assert engine.run({"a": {"uses": "engine_nodes:numbers"}}).success
