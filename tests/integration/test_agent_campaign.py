"""Random contents, ids and ends: every task ends, every agent answers, nobody changes another's."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flowcore import Message, Part, TaskState
from flowcore.agents.message import artifacts_of
from flowcore.client.agents import AgentClient
from flowcore.errors import FlowcoreError, UsageError
from tests.deep import count
from tests.engine import Engine, poll
from tests.integration.conftest import MakeEngine
from tests.integration.modules.hard_agents import ENDS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(count(300, 3600))]

SETTINGS = {"lease": "2.0", "heartbeat": "0.25", "dispatch_lease": "1.0", "agents": "hard_agents"}
KINDS = ("hard-async", "hard-plain", "hard-stream", "hard-iterator", "hard-task")
ANSWERS = (*KINDS, "hello", "where", "hangs-rarely")
PATIENCE = 120.0


@pytest.fixture(scope="module")
def hosted(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Two workers, each with processes for the same agents."""
    with make_engine(tmp_path_factory.mktemp("campaign"), **SETTINGS) as engine:
        for _ in range(2):
            engine.workers(pool="solo")
        yield engine


@pytest.fixture
def client(hosted: Engine) -> AgentClient:
    return AgentClient(hosted.session)


@dataclass(frozen=True)
class _Said:
    task: str
    agent: str
    content: Any
    is_canceled: bool


_IDS = (
    "",
    "pay-7",
    "pay-7|R",
    "t1",
    "t1.1",
    "T|x",
    "}:task",
    "a*",
    "\x00",
    "x" * 600,
    "ü",
    "\ud83d",
)


def _value(chance: random.Random, depth: int = 0) -> Any:
    """Any value, what no message may have among them."""
    odd = [float("nan"), 2**70, object(), b"x", "\ud83d", {1: 2}]
    plain = [None, True, 0, -1, 1.5, "", "ä\x00\x1b", "x" * chance.randrange(2000)]
    if chance.random() < 0.05:
        return chance.choice([*odd, "x" * 3_000_000])
    if depth < 4 and chance.random() < 0.4:
        inner = [_value(chance, depth + 1) for _ in range(chance.randrange(4))]
        return inner if chance.random() < 0.5 else {f"k{at}": each for at, each in enumerate(inner)}
    return chance.choice(plain)


def _say(client: AgentClient, chance: random.Random, number: int) -> _Said | None:
    """Say something to an agent; None if that was refused."""
    agent = chance.choice(KINDS)
    content: Any = {"do": chance.choice(list(ENDS)), "value": _value(chance), "number": number}
    if chance.random() < 0.03:
        agent, content = ("hangs", "x") if chance.random() < 0.8 else ("blocks", "x")
    given: dict[str, Any] = {}
    if chance.random() < 0.3:
        given["message_id"] = chance.choice(_IDS)
    said: Any = content
    if chance.random() < 0.2:
        metadata = {"m": _value(chance), "flowcore/hops": -5}
        said = Message(parts=(Part(data=content),), metadata=metadata, context_id="shared")
    try:
        task = client.start(agent, said, **given)
    except UsageError:
        return None
    is_canceled = chance.random() < 0.1
    if is_canceled:
        try:
            client.cancel(task)
        except FlowcoreError:
            is_canceled = False  # it had ended
    return _Said(task, agent, content, is_canceled)


def _check(client: AgentClient, said: _Said) -> None:
    def ended() -> Any:
        task = client.get(said.task)
        return task if task.state.is_terminal or task.state is TaskState.INPUT_REQUIRED else None

    found = poll(ended, what=f"the end of {said}", patience=PATIENCE)
    assert found.agent == said.agent
    (heard,) = found.history
    assert (heard.text or heard.data) == said.content
    if said.is_canceled:
        assert found.state is TaskState.CANCELED
    elif said.agent in KINDS and said.content["do"] == "echo":
        assert found.data == said.content, "nobody else's answer"
    elif said.agent not in KINDS:
        assert "its timeout of" in found.reason
    assert found.state is not TaskState.COMPLETED or not found.reason


def _answer(client: AgentClient, agent: str, asked: Any) -> float:
    """Seconds until an agent has answered."""
    begun = time.monotonic()
    assert client.send(agent, asked, timeout=30).state is TaskState.COMPLETED, agent
    return time.monotonic() - begun


def test_every_task_ends_and_every_agent_answers(client: AgentClient) -> None:
    chance = random.Random(31)
    wanted = count(150, 2000)
    said = [one for at in range(wanted) if (one := _say(client, chance, at)) is not None]
    assert len(said) > wanted / 2
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda one: _check(client, one), said))
    assert len({one.task for one in said}) == len(said)
    for agent in ANSWERS:
        asked = {"do": "echo"} if agent in KINDS else "you"
        # Some 10 ms each; the best of three, since a busy machine may delay one.
        assert min(_answer(client, agent, asked) for _ in range(3)) < 5, agent


def test_streams_that_are_killed_or_tried_again_are_one_trys_output(
    client: AgentClient, tmp_path: Path
) -> None:
    chance = random.Random(32)
    for number in range(count(4, 100)):
        pieces = chance.randrange(1, 20)
        kills = number % 2 == 0
        given = {"path": str(tmp_path / f"log-{number}"), "pieces": pieces}
        dies = {"dies_after": chance.randrange(pieces)}
        task = client.start("dies-once" if kills else "fails-once", {**given, **dies})
        wanted = "".join(f"2.{at};" for at in range(pieces))
        assert client.wait(task, timeout=PATIENCE).text == wanted
        (folded,) = artifacts_of(list(client.follow(task)))
        assert "".join(part.text or "" for part in folded.parts) == wanted
