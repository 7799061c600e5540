"""Callbacks that run in workers, with nobody who follows the run."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowcore.assembly.session import Session
from flowcore.client.flow import Flow, start_run
from flowcore.client.run import Run
from flowcore.run.callbacks import METHODS, calls_of
from tests.engine import MODULES, PATIENCE, Engine, poll
from tests.integration.conftest import MakeEngine

pytestmark = pytest.mark.integration

NODES: dict[str, Any] = {
    "poem": {"uses": "engine_nodes:recite", "with": {"words": ["a", "b"]}},
    "after": {"uses": "engine_nodes:echo", "needs": ["poem"], "with": {"value": 1}},
}
ALL: dict[str, Any] = {
    "again": {"uses": "engine_nodes:fail_until", "with": {"attempt": 2}, "retry": {"delay": 0}},
    "bad": {"uses": "engine_nodes:fail"},
    "left": {"uses": "engine_nodes:echo", "needs": ["bad"]},
}


def _heard(engine: Engine, run: str) -> list[list[str]]:
    path = engine.home / "heard"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split() for line in lines if line.split()[1] == run]


def test_all_is_told_in_order_without_a_client_and_a_failure_fails_nothing(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    names = "worker_callbacks:Failing, writing-of-tests"
    with make_engine(tmp_path, callbacks=names, namespace="shop") as engine:
        engine.workers()
        other = Session(
            replace(engine.session.runtime.settings, namespace="elsewhere", callbacks=())
        )
        with other:
            plan = Flow.load({"id": "other", "nodes": NODES}).plan()
            stranger = start_run(other, plan, None)
        runs = [engine.start(NODES), engine.start(ALL, config={"execution": {"fail_fast": False}})]
        told: set[str] = set()
        for run in runs:
            run.wait(timeout=PATIENCE)
            wanted = [(str(e.id), name) for e in run.events() for name, _ in calls_of(e)]
            poll(lambda: len(_heard(engine, run.id)) >= len(wanted), what="the callbacks")  # noqa: B023
            assert [(id, name) for _, _, id, name in _heard(engine, run.id)] == wanted
            told |= {name for _, name in wanted}
        assert told == set(METHODS), "each method was called"
        assert _heard(engine, stranger.id) == [], "it is another project's"
        log = (engine.home / "worker-0.log").read_text()
        assert "callback broke" in log
        assert "callback left" in log


def test_of_runs_inside_a_run_each_node_is_told(make_engine: MakeEngine, tmp_path: Path) -> None:
    with make_engine(tmp_path, callbacks="writing-of-tests", namespace="shop") as engine:
        engine.workers()
        engine.run(NODES)  # they have begun to tell
        poll((engine.home / "heard").exists, what="the first callbacks")
        item = {"uses": "engine_nodes:echo", "with": {"value": "${{ item }}"}}
        run = engine.start({"each": {**item, "for_each": [1, 2]}})
        run.wait(timeout=PATIENCE)
        inner = Run.get(f"{run.id}/each", session=engine.session)
        for one in (run, inner):
            wanted = [(str(e.id), name) for e in one.events() for name, _ in calls_of(e)]
            poll(lambda: len(_heard(engine, one.id)) >= len(wanted), what="the callbacks")  # noqa: B023
            assert [(id, name) for _, _, id, name in _heard(engine, one.id)] == wanted
        told = [name for _, _, _, name in _heard(engine, inner.id)]
        assert told.count("on_node_end") == 2
        assert not any(name.startswith("on_run") for name in told)


def test_another_worker_goes_on_for_one_that_was_killed_and_slowness_slows_no_run(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    with make_engine(tmp_path, callbacks="worker_callbacks:Hanging", lease="1") as engine:
        engine.workers()
        run = engine.start(NODES)
        assert run.wait(timeout=PATIENCE).output == 1  # though its callback hangs
        poll(lambda: any(w[3] == "hangs" for w in _heard(engine, run.id)), what="a callback")
        (first,) = {int(words[0]) for words in _heard(engine, run.id)}
        (engine.home / "go").touch()
        os.kill(first, signal.SIGKILL)
        engine.workers()
        ids: list[Any] = [str(event.id) for event in run.events()]

        def told() -> set[str]:
            return {id for _, _, id, method in _heard(engine, run.id) if method == "async"}

        poll(lambda: told() == set(ids), what="the rest")
        assert {int(words[0]) for words in _heard(engine, run.id)} - {first}


def test_a_resumed_run_is_told_of_again_and_nothing_stays_of_one_that_is_removed(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    with make_engine(
        tmp_path, callbacks="worker_callbacks:Writing", namespace="shop", retention="4"
    ) as engine:
        engine.workers()
        store: Any = engine.session.runtime.store
        run = engine.start({"a": {"uses": "engine_nodes:no_such_node"}})

        def told() -> list[str]:
            return [id for _, _, id, method in _heard(engine, run.id) if method == "on_event"]

        run.wait(timeout=PATIENCE)
        poll(lambda: told() and store.client.zcard("fc:callbacks:shop") == 0, what="its end")
        before = len(told())
        run.resume()
        poll(lambda: len(told()) > before, what="the resume")
        assert told() == [str(number) for number in range(1, len(told()) + 1)]
        poll(lambda: not store.client.keys("fc:{*"), what="retention")
        assert store.client.zcard("fc:callbacks:shop") == 0


@pytest.mark.parametrize(
    "name",
    ["nowhere", "no.such:thing", "worker_callbacks:Nothing", "worker_callbacks:CannotBeMade"],
)
def test_a_worker_does_not_start_with_callbacks_that_cannot_be_called(
    make_engine: MakeEngine, tmp_path: Path, name: str
) -> None:
    with make_engine(tmp_path, callbacks=name) as engine:
        argv = [sys.executable, "-m", "celery", "-A", "worker", "worker", "--pool", "solo"]
        env = engine.session.worker_env([MODULES])
        ended = subprocess.run(
            argv,
            check=False,
            env=env,
            cwd=MODULES.parents[2],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ended.returncode != 0
    assert "FLOWCORE_CALLBACKS" in ended.stderr
    assert name in ended.stderr
