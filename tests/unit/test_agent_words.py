"""The vocabulary of agents, and what is refused before anything is sent."""

from typing import Any

import msgpack
import pytest

from flowcore import Message, Skill, agent
from flowcore.agents.message import Artifact, Part, Role, Task, TaskState
from flowcore.celery.agents.notifier import opened
from flowcore.errors import UsageError
from flowcore.run.protocol import WIRE


def test_a_message_survives_the_protocols_json() -> None:
    message = Message(
        parts=(
            Part(text="a"),
            Part(data={"b": [1]}),
            Part(raw=b"\x00\xff", media_type="image/png", filename="c.png"),
            Part(url="https://example.org/d"),
        ),
        role=Role.AGENT,
        task_id="t",
        context_id="c",
        metadata={"x": 1},
        reference_task_ids=("r",),
    )
    assert Message.from_json(message.to_json()) == message
    assert message.to_json()["role"] == "ROLE_AGENT"
    assert msgpack.unpackb(msgpack.packb(message.to_json())) == message.to_json()


def test_a_task_has_the_protocols_fields() -> None:
    made = Artifact(artifact_id="r", parts=(Part(text="x"),))
    task = Task(
        id="t", context_id="c", agent="echo", state=TaskState.INPUT_REQUIRED, artifacts=(made,)
    )
    found = task.to_json()
    assert found["status"] == {"state": "TASK_STATE_INPUT_REQUIRED"}
    assert found["artifacts"] == [{"artifactId": "r", "parts": [{"text": "x"}]}]
    assert TaskState.INPUT_REQUIRED.word == "input-required"


def test_a_card_says_what_the_agent_said_of_itself() -> None:
    @agent("echo", skills=["repeat", Skill(id="loud", tags=("voice",))], tags=["test"])
    def echo(text: str) -> str:
        """Says it again."""
        return text

    card = echo.card(queue="a2a.echo")
    assert (card["name"], card["description"]) == ("echo", "Says it again.")
    assert card["skills"][1]["tags"] == ["voice", "test"]
    assert card["supportedInterfaces"][0]["protocolVersion"] == "1.0"
    assert echo("x") == "x"


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("Bad Name", {}, "small letters"),
        ("echo", {"colour": "red"}, "colour"),
        ("echo", {"timeout": "soon"}, "soon"),
        ("echo", {"max_concurrency": 0}, "at least 1"),
    ],
)
def test_a_bad_agent_is_refused_with_a_reason(name: str, options: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        agent(name, **options)


class _Keys:
    def sign(self, data: bytes) -> bytes:
        return data[:4]

    def verify(self, data: bytes, signature: object) -> bool:
        return signature == b"good"


class _Said:
    def __init__(self, signature: str, body: bytes) -> None:
        self.headers = {"sig": signature}
        self.body = body


@pytest.mark.parametrize("signature", ["", "zz", b"evil".hex()])
def test_a_message_that_is_not_signed_is_not_obeyed(signature: str) -> None:
    body = msgpack.packb({"task": "t", "flowcore/v": WIRE})
    assert opened(_Said(signature, body), _Keys()) is None
    assert opened(_Said(b"good".hex(), body), _Keys()) == {"task": "t"}
    for odd in (b"\xc1", msgpack.packb([1]), msgpack.packb(None), msgpack.packb(7)):
        assert opened(_Said(b"good".hex(), odd), _Keys()) is None


@pytest.mark.parametrize("number", [None, WIRE - 1, WIRE + 1])
def test_a_message_of_another_wire_number_is_refused_in_a_sentence(number: int | None) -> None:
    content = {"task": "t"} if number is None else {"task": "t", "flowcore/v": number}
    refused: list[Any] = []
    said = _Said(b"good".hex(), msgpack.packb(content))
    assert opened(said, _Keys(), lambda *told: refused.append(told)) is None
    ((about, sentence),) = refused
    assert about == {"task": "t"}
    assert f"here {WIRE}; run the same version of flowcore everywhere" in sentence


def test_an_agent_without_skills_is_one_and_is_found_by_its_tags() -> None:
    @agent("plain", tags=["text"])
    def plain(text: str) -> str:
        """Does what it does."""
        return text

    assert plain.card(queue="q")["skills"] == [
        {"id": "plain", "name": "plain", "description": "Does what it does.", "tags": ["text"]}
    ]
