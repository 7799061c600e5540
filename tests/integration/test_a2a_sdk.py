"""What agents say is what the A2A project's own package reads and writes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flowcore import Message, Skill, agent
from flowcore.agents.message import Artifact, Part, Role, Task, TaskState, TaskUpdate

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-a2a/bin/python"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not PYTHON.exists(), reason="no .venv-a2a: 'make .venv-a2a/.synced' makes it"
    ),
]

MESSAGE = Message(
    parts=(
        Part(text="hello"),
        Part(data={"a": [1, 2.5, None, "x"], "deep": {"b": True}}),
        Part(raw=b"\x00\xff", media_type="image/png", filename="x.png"),
        Part(url="https://example.org/file"),
    ),
    role=Role.AGENT,
    message_id="m1",
    task_id="t1",
    context_id="c1",
    metadata={"flowcore/chain": ["one"]},
    reference_task_ids=("t0",),
)
RESULT = Artifact(artifact_id="result", parts=(Part(text="done"),), name="the result")


@agent("echo", skills=[Skill(id="say", tags=("text",))], tags=["all"])
def echo(text: str) -> str:
    """Say it again."""
    return text


def _read(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """What the package makes of it."""
    done = subprocess.run(
        [PYTHON, ROOT / "tests/extras/a2a_sdk.py"],
        input=f"{name} {json.dumps(found)}\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    back: dict[str, Any] = json.loads(done.stdout.partition(" ")[2])
    return back


def test_a_message_and_an_artifact_come_back_as_they_were() -> None:
    assert Message.from_json(_read("Message", MESSAGE.to_json())) == MESSAGE
    assert Artifact.from_json(_read("Artifact", RESULT.to_json())) == RESULT


@pytest.mark.parametrize("state", TaskState)
def test_every_state_of_a_task_is_the_protocols(state: TaskState) -> None:
    task = Task(
        id="t1",
        context_id="c1",
        agent="echo",
        state=state,
        timestamp="2026-01-02T03:04:05.678Z",
        said=MESSAGE,
        artifacts=(RESULT,),
        history=(MESSAGE,),
    )
    back = _read("Task", task.to_json())
    assert (back["id"], back["status"]["state"]) == ("t1", state.value)
    assert back["status"]["timestamp"] == task.timestamp
    assert [Message.from_json(one) for one in back["history"]] == [MESSAGE]


def test_a_card_is_the_protocols() -> None:
    card = echo.card(queue="a2a.echo")
    assert _read("AgentCard", card) == {
        **card,
        "capabilities": {"streaming": True, "pushNotifications": False},
    }


def test_events_are_the_protocols_stream_responses() -> None:
    about: dict[str, Any] = {
        "seq": 3,
        "task_id": "t1",
        "context_id": "c1",
        "timestamp": "2026-01-02T03:04:05Z",
        "state": TaskState.WORKING,
    }
    status = TaskUpdate(**about, said=MESSAGE).to_json()
    assert _read("StreamResponse", status) == status
    piece = TaskUpdate(**about, artifact=RESULT, append=True).to_json()
    assert _read("StreamResponse", piece) == piece
