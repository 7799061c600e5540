"""Clients, workers, messages and runs of another wire number: refused in a sentence."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest

from flowcore import Run
from flowcore.celery import signing
from flowcore.errors import RunCancelledError, VersionMismatchError
from flowcore.ports.workers import WorkerInfo
from flowcore.run.protocol import WIRE
from flowcore.stores.redis.keys import run_key
from tests.engine import Engine, poll, running_engine
from tests.services import running_valkey

NODES = {"a": {"uses": "engine_nodes:numbers"}}
OTHER = WorkerInfo(
    id="other", name="celery@old", queues=("q",), concurrency=1, pool="solo", pid=3, wire=WIRE - 1
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with running_valkey() as url, running_engine(url, tmp_path) as engine:
        yield engine


def _cli(engine: Engine, *argv: str) -> "subprocess.CompletedProcess[str]":
    env = {**engine.session.worker_env([]), "FLOWCORE_HOME": str(engine.home)}
    command = [sys.executable, "-m", "flowcore.cli", *argv]
    return subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, timeout=100
    )


def test_nothing_is_submitted_beside_a_worker_of_another_number(engine: Engine) -> None:
    board = engine.session.runtime.board
    board.post(OTHER, keep=60)
    with pytest.raises(VersionMismatchError, match=r"celery@old .* is older"):
        engine.start(NODES, {"n": 1}, run_id="refused")
    assert engine.session.runtime.reader.summary("refused") is None
    found = _cli(engine, "doctor")
    assert found.returncode == 1
    assert "celery@old (process 3) is older than this flowcore" in found.stdout


def test_a_worker_does_not_start_beside_one_of_another_number(engine: Engine) -> None:
    engine.session.runtime.board.post(replace(OTHER, wire=WIRE + 1), keep=60)
    argv = [sys.executable, "-m", "celery", "-A", "worker", "worker", "--pool", "solo"]
    env = dict(engine.session.worker_env([]))
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        argv, env=env, cwd=root, capture_output=True, text=True, check=False, timeout=100
    )
    assert ended.returncode == 1
    assert "celery@old (process 3) is newer than this flowcore" in ended.stderr


def test_a_run_sent_by_another_version_is_stopped_with_the_sentence(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(signing, "WIRE", WIRE + 1)  # what a newer client would write
        run = engine.start(NODES, {"n": 1})
    engine.workers()
    poll(lambda: run.status().is_terminal, what="the run to be refused")
    with pytest.raises(RunCancelledError):
        run.result(timeout=60)
    assert "who sent this message is newer than this flowcore" in (run.summary().stop or "")


def test_a_stored_run_of_another_number_is_no_bug_in_flowcore(engine: Engine) -> None:
    run = engine.start(NODES, {"n": 1}, run_id="stored")
    client: Any = engine.session.runtime.store.client
    client.hset(run_key(run.id, "run"), "wire", WIRE + 1)
    with pytest.raises(VersionMismatchError):
        Run.get("stored", session=engine.session)
    for command in ("status", "inspect"):
        shown = _cli(engine, command, "stored")
        assert shown.returncode == 4, shown.stderr
        assert "bug in flowcore" not in shown.stderr
        assert "who stored run 'stored' is newer than this flowcore" in shown.stderr
    listed = _cli(engine, "list")
    assert listed.returncode == 0, listed.stderr
    assert "1 run was left out: stored by another version of flowcore" in listed.stderr
    engine.start(NODES, {"n": 1}, run_id="ours")
    found = Run.list(session=engine.session)
    assert ([row.id for row in found], found.left_out) == (["ours"], 1)


def test_each_of_several_workers_on_one_host_has_a_note_with_its_queues(engine: Engine) -> None:
    root = Path(__file__).parents[2]
    env = dict(engine.session.worker_env([])) | {"PYTHONPATH": f"{root}:{root}/tests/integration"}
    argv = [sys.executable, "-m", "celery", "-A", "worker", "worker", "--pool", "solo"]
    argv += ["--hostname", "same@%h"]  # who names two alike finds both all the same
    started = [
        subprocess.Popen(
            [*argv, "--queues", f"q{k}", "--without-gossip", "--without-mingle"],
            env=env,
            cwd=root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for k in range(2)
    ]
    board = engine.session.runtime.board
    try:
        notes = poll(lambda: len(found := board.workers()) == 2 and found, what="two notes")
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(60)
    assert {note.pid for note in notes} == {process.pid for process in started}
    assert len({note.name for note in notes}) == 1
    assert {queue for note in notes for queue in note.queues} >= {"q0", "q1"}
    assert all(note.memory and note.engines["native"] for note in notes)
    assert board.workers() == []


def test_a_message_carries_the_number_in_four_bytes(engine: Engine) -> None:
    engine.start(NODES, {"n": 1})
    (message,) = engine.take_messages()
    _, kwargs, _ = msgpack.unpackb(message.body)
    assert kwargs["v"] == WIRE
    assert len(msgpack.packb({"v": WIRE})) - 1 <= 4
