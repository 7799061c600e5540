"""Agents on real workers: two processes host the same agents."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flowcore.agents.message import Part, TaskState
from flowcore.cli.main import main
from flowcore.client.agents import AgentClient
from flowcore.errors import (
    AgentNegotiationError,
    AgentNotFoundError,
    AgentTaskError,
    AgentTaskStateError,
)
from tests.engine import Engine, poll
from tests.integration.conftest import MakeEngine

pytestmark = [pytest.mark.integration]

SHORT = {
    "lease": "1.0",
    "heartbeat": "0.25",
    "dispatch_lease": "1.0",
    "max_lost": "1",
    "agents": "some_agents",
}


@pytest.fixture(scope="module")
def hosted(
    make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Engine, Path]]:
    """Two workers with the same agents, and where a plain agent writes its log."""
    home = tmp_path_factory.mktemp("agents")
    with pytest.MonkeyPatch.context() as patch, make_engine(home, **SHORT) as engine:
        patch.setenv("AGENT_LOG", str(home / "agent.log"))
        engine.workers(pool="solo")
        engine.workers(pool="solo")
        client = AgentClient(engine.session)
        poll(lambda: sum(n.name == "echo" and n.alive for n in client.agents()) >= 2, what="cards")
        yield engine, home


@pytest.fixture
def client(hosted: tuple[Engine, Path]) -> AgentClient:
    return AgentClient(hosted[0].session)


@pytest.mark.both_brokers
def test_an_agent_answers_what_it_is_asked(client: AgentClient) -> None:
    assert client.send("echo", "hello").text == "hello"
    assert client.send(None, "hello", skill="loud").text == "HELLO"


def test_two_instances_share_the_load(client: AgentClient) -> None:
    with ThreadPoolExecutor(32) as threads:
        found = threads.map(lambda _: client.send("pid", "?").data["pid"], range(32))
        assert len(set(found)) == 2


def test_an_agent_streams_its_pieces_in_order(client: AgentClient) -> None:
    for name in ("counter", "plain-counter"):
        updates = list(client.stream(name, {"to": 5}))
        assert [each.text for each in updates if each.artifact] == [f"{n};" for n in range(5)]
        assert [each.seq for each in updates] == list(range(1, len(updates) + 1))
        assert updates[0].state is TaskState.SUBMITTED
        assert updates[-1].state is TaskState.COMPLETED
        task = client.get(updates[0].task_id)
        assert task.text == "0;1;2;3;4;"
        resumed = list(client.follow(task.id, after=3))
        assert [each.seq for each in resumed] == [each.seq for each in updates[3:]]


def test_an_agent_asks_and_goes_on_with_the_answers(client: AgentClient) -> None:
    asked = client.send("booking", "trip")
    assert (asked.state, asked.reason) == (TaskState.INPUT_REQUIRED, "Which city?")
    asked = client.send(None, "Rome", task=asked.id)
    assert (asked.state, asked.reason) == (TaskState.INPUT_REQUIRED, "Which day?")
    done = client.send(None, "Monday", task=asked.id)
    assert done.text == "trip: Rome on Monday"
    assert [message.text for message in done.history] == ["trip", "Rome", "Monday"]
    with pytest.raises(AgentTaskStateError, match="is completed"):
        client.send(None, "more", task=done.id)


def test_a_plain_agent_may_raise_its_question(client: AgentClient) -> None:
    asked = client.send("asker", "yes")
    assert client.send(None, "really", task=asked.id).text == "yes really"


def test_agents_call_stream_fan_out_and_send(client: AgentClient) -> None:
    found = client.send("chief", "yo").data
    assert found["call"] == "yo"
    assert found["fan"] == ["YO", "yo!"]
    assert found["stream"] == ["0;", "1;", "2;"]
    assert client.wait(found["sent"]).text == "bye"


def test_a_plain_agent_that_waits_is_run_again_with_the_answers(
    client: AgentClient, hosted: tuple[Engine, Path]
) -> None:
    done = client.send("plain-chief", "yo")
    assert done.text == "YOYOZ"
    runs = (hosted[1] / "agent.log").read_text().splitlines().count(done.id)
    assert runs >= 2


def test_a_task_is_delegated_with_its_context(client: AgentClient) -> None:
    done = client.send("clerk", "please")
    assert done.data == {"context": done.context_id, "references": [done.id]}


def test_a_circle_of_agents_is_refused(client: AgentClient) -> None:
    with pytest.raises(AgentTaskError, match="in a circle: ring-a -> ring-b -> ring-a"):
        client.send("ring-a", "x")


def test_errors_are_tried_again_and_then_told(client: AgentClient) -> None:
    assert client.send("flaky", "x").text == "attempt 3"
    with pytest.raises(AgentTaskError, match="is failed: ValueError: as written"):
        client.send("broken", "x")
    with pytest.raises(AgentTaskError, match="is rejected: not today"):
        client.send("picky", "x")
    with pytest.raises(AgentTaskError, match=r"its timeout of 0\.1 s"):
        client.send("slow", "x")


def test_two_sides_that_do_not_understand_each_other_are_told_why(client: AgentClient) -> None:
    with pytest.raises(AgentNegotiationError, match=r"takes text/plain; .* application/json"):
        client.send("shout", {"a": 1})
    with pytest.raises(AgentNegotiationError, match=r"speaks A2A 1\.0; the caller 2\.0"):
        client.send("shout", "x", version="2.0")
    with pytest.raises(AgentNegotiationError, match=r"the caller takes image/png"):
        client.send("shout", "x", accept=("image/png",))
    with pytest.raises(AgentNegotiationError, match="image/gif"):
        client.send("echo", Part(raw=b"GIF", media_type="image/gif"))
    with pytest.raises(AgentNotFoundError, match="no live agent is called 'nobody'"):
        client.send("nobody", "x")


def test_a_message_said_twice_counts_once(client: AgentClient) -> None:
    first = client.start("pid", "?", message_id="same")
    assert client.start("pid", "?", message_id="same") == first
    done = client.wait(first)
    states = [each.state for each in client.follow(first)]
    assert states.count(TaskState.COMPLETED) == 1
    assert len(done.history) == 1


def test_a_cancel_reaches_the_worker(client: AgentClient, tmp_path: Path) -> None:
    log = tmp_path / "log"
    task = client.start("sleeper", {"path": str(log), "seconds": 600})
    poll(lambda: log.exists() and "begin" in log.read_text(), what="the agent to begin")
    assert client.cancel(task).state is TaskState.CANCELED
    poll(lambda: "stopped" in log.read_text(), what="the agent to be stopped")
    with pytest.raises(AgentTaskStateError, match="is canceled"):
        client.send(None, "x", task=task)


def test_a_cancel_reaches_those_that_were_called(client: AgentClient, tmp_path: Path) -> None:
    log = tmp_path / "log"
    task = client.start("patient", {"path": str(log), "seconds": 600})
    poll(lambda: log.exists() and "begin" in log.read_text(), what="the called agent to begin")
    client.cancel(task)
    poll(lambda: "stopped" in log.read_text(), what="the called agent to be stopped")
    assert client.get(f"{task}.1").state is TaskState.CANCELED


def test_one_that_waits_holds_no_place(client: AgentClient, tmp_path: Path) -> None:
    """Each worker has one place for 'patient', and three of them wait at once."""
    logs = [tmp_path / f"log{n}" for n in range(3)]
    tasks = [client.start("patient", {"path": str(log), "seconds": 600}) for log in logs]
    poll(lambda: all(log.exists() for log in logs), what="all of them to wait")
    for task in tasks:
        client.cancel(task)


def test_a_task_that_is_late_fails(client: AgentClient, tmp_path: Path) -> None:
    given = {"path": str(tmp_path / "log"), "seconds": 600}
    with pytest.raises(AgentTaskError, match="its deadline has passed"):
        client.send("sleeper", given, deadline=0.5)


def test_the_command_line_lists_sends_and_refuses(
    hosted: tuple[Engine, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine, home = hosted
    settings = engine.session.runtime.settings
    monkeypatch.setenv("FLOWCORE_REDIS_URL", engine.session.runtime.redis_url)
    monkeypatch.setenv("FLOWCORE_HOME", str(home))
    if settings.broker_url:
        monkeypatch.setenv("FLOWCORE_BROKER_URL", settings.broker_url)

    def said(*words: str, code: int = 0) -> str:
        assert main(["agents", *words]) == code
        told = capsys.readouterr()
        assert not code or not told.out, "data goes to stdout, errors to stderr"
        return told.err if code else told.out

    rows = json.loads(said("--skill", "loud", "-o", "json"))
    assert [(row["name"], row["state"], row["instances"]) for row in rows] == [("shout", "live", 2)]
    assert json.loads(said("--tag", "no-such", "-o", "json")) == []
    assert main(["agents", "--skill", "no-such"]) == 0
    assert "no agent has that" in capsys.readouterr().err
    assert json.loads(said("card", "echo"))["name"] == "echo"
    assert said("send", "echo", "hello") == "hello\n"
    assert said("send", "counter", "-i", "to=2") == "0;1;\n"
    asked = json.loads(said("send", "booking", "trip", "-o", "json"))
    assert asked["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
    assert said("send", "booking", "Rome", "--task", asked["id"]) == "Which day?\n"
    assert said("cancel", asked["id"]) == ""
    canceled = said("cancel", asked["id"], "-o", "jsonl")
    assert json.loads(canceled)["status"]["state"] == "TASK_STATE_CANCELED"
    assert len(canceled.splitlines()) == len(said("card", "echo", "-o", "jsonl").splitlines()) == 1
    begun = json.loads(said("send", "echo", "hello", "--detach", "-o", "json"))
    assert json.loads(said("task", begun["id"]))["id"] == begun["id"]
    assert json.loads(said("task", asked["id"], "-o", "json"))["id"] == asked["id"]
    assert "cannot be canceled" not in said("cancel", asked["id"])
    assert "no live agent is called 'nobody'" in said("send", "nobody", "x", code=3)
    assert "there is no task 'x'" in said("task", "x", code=3)
    assert "there is no task 'x'" in said("cancel", "x", code=3)
    assert "takes text/plain" in said("send", "shout", "-i", "a=1", code=2)
    assert "give either TEXT" in said("send", "shout", code=2)
    assert "as written" in said("send", "broken", "x", code=1)
    assert "is not a dead letter" in said("requeue", asked["id"], code=2)
    late = said(
        "send",
        "sleeper",
        "-i",
        f"path={home / 'late'}",
        "-i",
        "seconds=60",
        "--timeout",
        "0.2s",
        code=124,
    )
    assert "it continues" in late


def test_what_a_killed_worker_had_is_taken_over(make_engine: MakeEngine, tmp_path: Path) -> None:
    """Kill -9 in mid-task, of the agent and of the one that waits for it; then once too often."""
    with make_engine(tmp_path, **SHORT) as engine:
        client = AgentClient(engine.session)
        first = engine.workers(pool="solo")
        log = tmp_path / "log"
        task = client.start("patient", {"path": str(log), "seconds": 600})
        poll(lambda: log.exists() and "begin" in log.read_text(), what="the agent to begin")
        os.kill(_pid(log), signal.SIGKILL)
        done = client.wait(task)
        assert done.text == "slept"
        assert log.read_text().count("begin") == 2
        states: list[Any] = [each.state for each in client.follow(f"{task}.1")]
        assert states[:2] == [TaskState.SUBMITTED, TaskState.WORKING]
        assert states[-1] is TaskState.COMPLETED
        assert first.failure is None


def _pid(log: Path) -> int:
    return int(log.read_text().split()[1])
