"""What commands that change something say with ``-o``: what they have done, on stdout."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from flowcore import Memory, Run
from flowcore.cli.main import main
from flowcore.run.status import NodeState
from tests.engine import Engine, poll

#: Runs a command, and gives what it wrote to stdout.
Shell: TypeAlias = Callable[..., str]

FLOW = "id: told\nversion: '1'\nnodes: {a: {uses: start}}\n"
WAITING = {"wait": {"uses": "signal", "with": {"name": "go"}}}
ASKING = {"buy": {"uses": "approval"}}


@pytest.fixture
def shell(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Shell:
    monkeypatch.setenv("FLOWCORE_REDIS_URL", engine.session.runtime.redis_url)
    monkeypatch.setenv("FLOWCORE_HOME", str(engine.home))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "told.yaml").write_text(FLOW)

    def run(*words: str, code: int = 0) -> str:
        assert main(words) == code
        return capsys.readouterr().out

    return run


def _line(text: str) -> Any:
    """The one JSON value of ``-o jsonl``."""
    (line,) = text.splitlines()
    return json.loads(line)


def test_a_submitted_run_is_an_id_for_people_and_an_object_as_data(shell: Shell) -> None:
    assert shell("submit", "told.yaml", "--id", "told-1", "-q") == "told-1\n"
    assert _line(shell("submit", "told.yaml", "--id", "told-1", "-o", "jsonl")) == {
        "run_id": "told-1"
    }
    assert json.loads(shell("enqueue", "told.yaml", "--id", "told-1", "--output", "json")) == {
        "run_id": "told-1"
    }


def test_a_run_is_watched_with_an_event_a_line(shell: Shell) -> None:
    shell("submit", "told.yaml", "--id", "told-2")
    *events, result = map(json.loads, shell("watch", "told-2", "-o", "jsonl").splitlines())
    assert events[0]["type"] == "run.created"
    assert events[-1]["type"] == "run.succeeded"
    assert (result["type"], result["state"]) == ("result", "succeeded")


def test_a_signal_and_an_answer_are_told_as_data(engine: Engine, shell: Shell) -> None:
    run = engine.start(WAITING)
    said = _line(shell("signal", run.id, "go", "-i", "by=ada", "-o", "jsonl"))
    assert said == {"run_id": run.id, "signal": "go", "value": {"by": "ada"}}
    assert run.wait(60).success
    assert shell("signal", run.id, "go", "-o", "json", code=2) == ""
    for word, answer in ((), True), (("--reject",), False):
        run = engine.start(ASKING)
        said = _line(shell("approve", run.id, "buy", *word, "-o", "jsonl"))
        assert said == {"run_id": run.id, "node": "buy", "approved": answer}
        assert run.wait(60).success is answer


def test_a_changed_run_is_told_as_data(engine: Engine, shell: Shell) -> None:
    run = engine.start(WAITING)
    # A node that a worker has in hand would have to end first: the run would be stopping.
    poll(lambda: run.record().nodes["wait"].state is NodeState.WAITING, what="the node to wait")
    for word, state in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        assert _line(shell(word, run.id, "-o", "jsonl")) == {"run_id": run.id, "state": state}
    again = json.loads(shell("rerun", run.id, "-o", "json"))
    assert again["origin"] == {"run_id": run.id, "node": None}
    Run.get(again["run_id"], session=engine.session).cancel()


def test_a_deployed_flow_and_one_that_is_forgotten_are_told_as_data(shell: Shell) -> None:
    deployed = json.loads(shell("deploy", "told.yaml", "-o", "json"))
    assert (deployed["name"], deployed["version"], deployed["nodes"]) == ("told", "1", 1)
    assert deployed in json.loads(shell("flows", "-o", "json"))
    gone = {"name": "told", "version": "1", "removed": True}
    assert _line(shell("flows", "--remove", "told@1", "-o", "jsonl")) == gone
    assert shell("flows", "--remove", "told@1", "-o", "json", code=3) == ""


def test_each_change_of_a_schedule_is_told_as_data(engine: Engine, shell: Shell) -> None:
    shell("deploy", "told.yaml")
    put = ("schedules", "put", "yearly", "told", "--cron", "0 3 1 1 *")
    assert json.loads(shell(*put, "-o", "json"))["created"] is True
    made = _line(shell(*put, "-o", "jsonl"))
    assert (made["name"], made["flow"], made["created"]) == ("yearly", "told", False)
    assert made["due"].endswith("-01-01T03:00:00.000Z")
    for word, state, changed in (
        ("pause", "paused", True),
        ("pause", "paused", False),
        ("resume", "active", True),
        ("resume", "active", False),
    ):
        row = _line(shell("schedules", word, "yearly", "-o", "jsonl"))
        assert (row["state"], row["changed"]) == (state, changed)
    begun = _line(shell("schedules", "run", "yearly", "-o", "jsonl"))
    assert begun["schedule"] == "yearly"
    assert Run.get(begun["run_id"], session=engine.session).wait(60).success
    shown = _line(shell("schedules", "show", "yearly", "--times", "2", "-o", "jsonl"))
    assert len(shown["times"]) == 2
    gone = {"name": "yearly", "removed": True}
    assert json.loads(shell("schedules", "remove", "yearly", "-o", "json")) == gone
    assert shell("schedules", "pause", "yearly", "-o", "json", code=3) == ""


def test_moved_and_forgotten_threads_are_told_as_data(engine: Engine, shell: Shell) -> None:
    Memory("told", "one", session=engine.session).add("user", "hello")
    (thread,) = json.loads(shell("memory", "export", "told/", "-o", "json"))
    assert thread["thread"] == "told/one"
    assert _line(shell("memory", "export", "told/")) == thread
    written = {"threads": 1, "file": "told.jsonl"}
    assert json.loads(shell("memory", "export", "told/", "-O", "told.jsonl", "-o", "json")) == (
        written
    )
    taken = json.loads(shell("memory", "import", "told.jsonl", "--replace", "-o", "json"))
    assert taken == {"threads": 1}
    forgotten = {"thread": "told/one", "cleared": True}
    assert _line(shell("memory", "clear", "told/one", "-o", "jsonl")) == forgotten
