"""What agents are told and what they do, whatever it is: it ends their own task, and no more."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowcore import Artifact, Message, Part, TaskState
from flowcore.agents.message import Task, TaskUpdate, artifacts_of
from flowcore.client.agents import AgentClient
from flowcore.errors import (
    AgentTaskError,
    AgentTaskStateError,
    UnsupportedValueError,
    UsageError,
)
from tests.engine import Engine, poll
from tests.integration.conftest import MakeEngine
from tests.integration.modules.hard_agents import ENDS

pytestmark = [pytest.mark.integration]

KINDS = ("hard-async", "hard-plain", "hard-stream", "hard-iterator", "hard-task")

#: Ends of a function, by how its task ends; a pattern of its reason.
ENDED = {
    "raise": "ValueError: as written",
    "base": "BaseException: as written",
    "group": "BaseExceptionGroup: two",
    "exit": "SystemExit: 3",
    "argparse": "SystemExit: 2",
    "interrupt": "KeyboardInterrupt",
    "generator-exit": "GeneratorExit",
    "cancelled": "CancelledError",
    "timeout": "TimeoutError: somebody else's",
    "recursion": "RecursionError: deep",
    "odd": "OddError: .its text cannot be shown",
    "surrogate": r"SurrogateError: half a pair: \\ud83d",
    "huge-error": "ValueError: xxx.*characters cut",
    "ask-odd": "UnsupportedValueError: question of agent .* the key 1",
    "keys": "UnsupportedValueError: .* has the key 1",
    "nan": "UnsupportedValueError: .* nan",
    "half": "UnsupportedValueError: .*half of a surrogate",
    "object": "UnsupportedValueError: .* object",
    "bytes-inside": "UnsupportedValueError: .* bytes in its data",
    "huge": "UnsupportedValueError: .* 5,000,.* bytes",
    "deep": "UnsupportedValueError: .* ",
    "circle": "UnsupportedValueError: .* ",
    "big-int": "UnsupportedValueError: .* ",
    "part-of-two": "UnsupportedValueError: .* more than one of text",
    "mixed": "UnsupportedValueError: .* list of parts",
    "artifact-id": "UsageError: an artifact's id",
    "stop-iteration": "StopIteration: early|RuntimeError: .*StopIteration",
}


@pytest.fixture(scope="module")
def hosted(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One worker that hosts agents of all sorts."""
    home = tmp_path_factory.mktemp("hard")
    settings = {"lease": "2.0", "heartbeat": "0.25", "dispatch_lease": "1.0"}
    with make_engine(home, agents="hard_agents", **settings) as engine:
        engine.workers(pool="solo")
        yield engine


@pytest.fixture
def client(hosted: Engine) -> AgentClient:
    return AgentClient(hosted.session)


def _ended(client: AgentClient, task: str) -> Task:
    list(client.follow(task))
    return client.get(task)


def test_whatever_a_function_raises_or_returns_ends_its_own_task(client: AgentClient) -> None:
    """More of them than the agents have places: each has given its own back."""
    begun = [
        (kind, end, client.start(kind, {"do": end, "value": {"a": [1, None]}}))
        for end in (*ENDED, "none", "fine", "date", "reject", "ask")
        for kind in KINDS
    ]
    for kind, end, id in begun:
        if end == "ask":
            found = client.wait(id)
            assert (found.state, found.reason) == (TaskState.INPUT_REQUIRED, "which?"), kind
            continue
        found = _ended(client, id)
        if end in ENDED:
            with pytest.raises(AgentTaskError, match=f"is failed: (?s:{ENDED[end]})"):
                client.wait(id)
        elif end == "reject":
            assert (found.state, found.reason) == (TaskState.REJECTED, "not today"), kind
        else:
            assert found.state is TaskState.COMPLETED, (kind, end, found.reason)
            assert end != "date" or found.data == {"at": "2026-01-02T00:00:00Z"}
    assert set(ENDS) - set(ENDED) == {"none", "fine", "date", "reject", "ask", "echo"}
    for kind in KINDS:
        done = client.send(kind, {"do": "echo", "value": kind}, timeout=5)
        assert done.data == {"do": "echo", "value": kind}


def test_a_task_of_the_loop_that_nobody_awaits_ends_nothing(client: AgentClient) -> None:
    first = client.send("where", "?").data
    assert client.send("loop-breaker", "x").text == "still here"
    assert client.send("hello", "you").text == "hello you"
    assert client.send("where", "?").data == first


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({1: 2}, "has the key 1"),
        ({"a": [{"b": {2.5: 1}}]}, r"the key 2\.5"),
        ({"x": float("nan")}, "nan"),
        ([float("inf")], "inf"),
        ("half a pair: \ud83d", "half of a surrogate pair"),
        ({"\ud83d": 1}, "half of a surrogate pair"),
        (object(), "object"),
        ({"x": b"y"}, "bytes in its data"),
        (2**64, "64"),
        ("x" * 5_000_000, "5,000,.* bytes"),
        (b"x" * 1_000_000, "bytes"),
        ([Part(text="a"), "b"], "list of parts"),
        (Part(text="a", data=1), "more than one of"),
        (Part(text=5), "text that is no str"),  # type: ignore[arg-type]
        (Part(raw="a"), "raw that is no bytes"),  # type: ignore[arg-type]
        (Message(parts=(Part(text="a"),), metadata={1: 2}), "the key 1"),  # type: ignore[dict-item]
        (Message(parts=("a",)), "not a Part"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_said_is_refused_where_it_is_said(
    client: AgentClient, content: Any, why: str
) -> None:
    with pytest.raises(UnsupportedValueError, match=f"agent 'hello'.*{why}|{why}"):
        client.start("hello", content)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"message_id": ""}, "messageId is a text of 1 to"),
        ({"message_id": 5}, "messageId is a text of 1 to"),
        ({"message_id": "a\x00b"}, "printable"),
        ({"message_id": "\ud83d"}, "printable"),
        ({"message_id": "x" * 1000}, "512"),
        ({"context": "a\nb"}, "contextId"),
        ({"deadline": float("nan")}, "deadline is a number"),
        ({"deadline": -1}, "deadline is a number"),
        ({"deadline": 1e300}, "a hundred years"),
        ({"deadline": "soon"}, "deadline is a number"),
        ({"new_task": "t1"}, "there is no new_task to give"),
        ({"parent": "t1", "chain": ("a",)}, "there is no chain, parent to give"),
    ],
)
def test_what_goes_with_a_message_is_checked(
    client: AgentClient, given: dict[str, Any], why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        client.start("hello", "x", **given)


def test_an_id_is_no_path_to_another_task(client: AgentClient) -> None:
    """The letters of the store's own entries among them."""
    plain = client.start("hello", "x", message_id="pay-7")
    done = client.wait(plain)
    for odd in ("pay-7|R", "pay-7|D", "R|pay-7", "T|pay-7", "pay-7.1", "pay-7}:task", f"{plain}|R"):
        task = client.start("hello", "y", message_id=odd)
        assert client.wait(task).text == "hello y"
        assert client.get(plain) == done
    assert len({client.start("hello", "z", message_id=id) for id in ("a", "a.1", "a|R")}) == 3


def test_a_message_counts_once_for_an_agent_and_a_content(client: AgentClient) -> None:
    first = client.start("hello", "a", message_id="same")
    assert client.start("hello", "a", message_id="same") == first
    others = {
        client.start("where", "a", message_id="same"),
        client.start("hello", "b", message_id="same"),
        client.start("hello", "a", message_id="same", context="other"),
    }
    assert len(others | {first}) == 4
    assert client.wait(first).text == "hello a"


def test_a_message_keeps_its_ids_and_its_metadata(client: AgentClient) -> None:
    said = Message(
        parts=(Part(text="x"),),
        context_id="the-context",
        metadata={"trace": "t-1", "flowcore/hops": -99, "flowcore/chain": 5},
        reference_task_ids=("earlier",),
    )
    done = client.send("metadata", said)
    assert done.data == {
        "metadata": {"trace": "t-1"},
        "context": "the-context",
        "task": done.id,
    }
    assert done.history[0].message_id == said.message_id
    assert done.history[0].reference_task_ids == ("earlier",)


def test_a_message_with_a_task_goes_on_with_it(client: AgentClient) -> None:
    asked = client.send("hard-async", {"do": "ask"})
    answer = Message(parts=(Part(text="this"),), task_id=asked.id, context_id=asked.context_id)
    again = client.send("hard-async", answer)
    assert (again.id, len(again.history)) == (asked.id, 2)
    with pytest.raises(UsageError, match="one of agent 'hard-async', not of 'hello'"):
        client.send("hello", answer)
    with pytest.raises(UsageError, match="belongs to the context"):
        client.send(None, "x", task=asked.id, context="another")
    with pytest.raises(UsageError, match="the call for 'other'"):
        client.send("hard-async", answer, task="other")
    client.cancel(asked.id)
    with pytest.raises(AgentTaskStateError, match="is canceled"):
        client.send("hard-async", replace(answer, message_id="another"))


def _folded(updates: list[TaskUpdate]) -> dict[str, str]:
    """The artifacts of a stream, as any client of the protocol puts them together."""
    return {
        each.artifact_id: "".join(part.text or "" for part in each.parts)
        for each in artifacts_of(updates)
    }


def test_another_try_begins_its_artifacts_anew(client: AgentClient) -> None:
    updates = list(client.stream("two-tries", "?"))
    done = client.get(updates[0].task_id)
    assert done.text == "Paris, as ever"
    assert [each.artifact_id for each in done.artifacts] == ["result"]
    assert _folded(updates) == {"result": "Paris, as ever"}
    assert [each.text for each in updates if each.withdrawn] == [""]
    pieces = [
        (each.text, each.append)
        for each in updates
        if each.artifact and each.artifact.artifact_id == "result"
    ]
    assert pieces == [
        ("The capital ", False),
        ("is ", True),
        ("Paris, ", False),
        ("as ever", True),
    ]
    plain = list(client.stream("plain-two-tries", "?"))
    assert _folded(plain) == {"result": "try 2, done"}


def test_a_turn_that_goes_on_with_another_text_replaces_the_first(
    client: AgentClient, tmp_path: Path
) -> None:
    asked = client.send("asks-between", {"path": str(tmp_path / "log")})
    assert asked.text == "thinking 1; "
    done = client.send(None, "this", task=asked.id)
    assert done.text == "thinking 2; this of run 2"
    assert _folded(list(client.follow(done.id))) == {"result": done.text}


@pytest.mark.parametrize("source", ["asyncio", "itself"])
def test_a_timeout_error_of_its_own_is_an_error_like_others(
    client: AgentClient, tmp_path: Path, source: str
) -> None:
    path = tmp_path / "log"
    with pytest.raises(AgentTaskError, match="is failed: TimeoutError") as caught:
        client.send("own-timeout", {"path": str(path), "from": source})
    assert path.read_text().count("run") == 2
    assert ("mine 2" in str(caught.value)) is (source == "itself")


@pytest.mark.parametrize("agent", ["waits-plain", "waits-async"])
def test_a_cancel_reaches_all_that_is_waited_for(
    client: AgentClient, tmp_path: Path, agent: str
) -> None:
    log = tmp_path / "log"
    task = client.start(agent, {"path": str(log)})
    poll(log.exists, what="the innermost agent to begin")
    client.cancel(task)
    below = [task, f"{task}.1", *([f"{task}.1.1"] if agent == "waits-plain" else [])]
    assert [client.get(each).state for each in below] == [TaskState.CANCELED] * len(below)
    poll(lambda: "end" in log.read_text(), what="the innermost agent to end")


def test_agents_that_tell_each_other_in_a_circle_come_to_an_end(
    client: AgentClient, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    client.start("tells-itself", {"path": str(log)})
    poll(lambda: log.exists() and "in a circle" in log.read_text(), what="the circle to end")
    assert log.read_text().count("told") == 33
    assert "one message has led to 33 others in a row" in log.read_text()


def test_an_artifact_is_exported_with_its_parts() -> None:
    made = Artifact(artifact_id="a", parts=(Part(text="x"),))
    assert Artifact.from_json(made.to_json()) == made
