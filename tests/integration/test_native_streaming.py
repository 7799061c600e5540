"""What nodes say on real workers, and who hears it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from flowcore import Callbacks, Event, Run
from flowcore.cli.main import main
from flowcore.client.sse import sse
from flowcore.errors import RunNotFoundError, UsageError
from flowcore.run.event import EventType
from tests.engine import Engine

pytestmark = pytest.mark.integration

WORDS = ["to ", "be ", "or ", "not"]


def _texts(events: list[Event]) -> list[Any]:
    tokens = [event for event in events if event.type is EventType.NODE_TOKEN]
    return [event.data.get("text", event.data.get("chunk")) for event in tokens]


@pytest.mark.parametrize("how", ["recite", "recite_slowly"])
def test_a_generator_gives_tokens_while_it_runs_and_one_output(engine: Engine, how: str) -> None:
    nodes = {
        "poem": {"uses": f"engine_nodes:{how}", "with": {"words": WORDS}},
        "after": {
            "uses": "engine_nodes:echo",
            "needs": ["poem"],
            "with": {"value": "${{ poem.output }}"},
        },
    }
    run = engine.start(nodes)
    assert run.wait(timeout=60).output == "to be or not"
    events = list(run.events())
    assert _texts(events) == WORDS
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    types = [event.type.value for event in events if event.node == "poem"]
    assert types[types.index("node.started") :] == [
        "node.started", *["node.token"] * 4, "node.succeeded"
    ]  # fmt: skip


def test_a_token_is_read_while_its_node_runs(engine: Engine, tmp_path: Path) -> None:
    go = tmp_path / "go"
    given = {"path": str(go)}
    run = engine.start({"poem": {"uses": "engine_nodes:recite_until", "with": given}})

    async def listen() -> list[Any]:
        heard = []
        async for text in run.tokens():
            heard.append(text)
            go.touch()  # only a reader that was given the first word lets the second one come
        return heard

    assert asyncio.run(listen()) == ["first ", "second"]
    assert run.wait(timeout=60).output == "first second"


def test_tokens_of_an_attempt_that_failed_carry_its_number(engine: Engine) -> None:
    retry = {"max_attempts": 2, "delay": "10ms"}
    run = engine.start({"poem": {"uses": "engine_nodes:recite_twice", "retry": retry}})
    assert run.wait(timeout=60).output == "attempt 2"
    tokens = list(run.events(types=["node.token"]))
    assert [(event.attempt, event.data["text"]) for event in tokens] == [
        (1, "attempt 1"),
        (2, "attempt 2"),
    ]


def test_logs_tokens_and_events_of_a_node_are_one_ordered_log(engine: Engine) -> None:
    run = engine.start({"a": {"uses": "engine_nodes:speak"}})
    assert run.wait(timeout=60).output == 3
    said = [
        e
        for e in run.events(node="a")
        if e.type.value in {"node.log", "node.token", "node.emitted"}
    ]
    assert [event.data for event in said] == [
        {"level": "INFO", "message": "3 words"},
        {"chunk": 0},
        {"chunk": 1},
        {"chunk": 2},
        {"kind": "progress", "done": 3},
    ]


def test_without_streaming_only_a_nodes_own_events_are_kept(engine: Engine) -> None:
    config = {"streaming": {"enabled": False}}
    run = engine.start({"a": {"uses": "engine_nodes:speak"}}, config=config)
    assert run.wait(timeout=60).output == 3
    assert {event.type.value for event in run.events(node="a")} == {
        "nodes.dispatched", "node.started", "node.emitted", "node.succeeded"
    }  # fmt: skip


def test_many_tokens_come_whole_through_a_small_buffer(engine: Engine) -> None:
    nodes = {"a": {"uses": "engine_nodes:speak", "with": {"count": 5000}}}
    run = engine.start(nodes, config={"streaming": {"buffer_size": 100}})
    assert run.wait(timeout=60).success
    events = list(run.events())
    gaps = [event.data["lost"] for event in events if event.type is EventType.STREAM_GAP]
    assert len(_texts(events)) + sum(gaps) == 5000, "what is missing is told of"


def test_a_reader_resumes_after_any_event(engine: Engine) -> None:
    nodes = {"a": {"uses": "engine_nodes:speak", "with": {"count": 300}}}
    run = engine.start(nodes)
    run.wait(timeout=60)
    whole = list(run.events())
    for after in (0, 1, 7, 150, len(whole) - 1):
        assert list(run.events(after=after)) == whole[after:]


class Heard(Callbacks):
    """Writes down what it hears; one of its methods fails each time."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str | None]] = []

    def on_run_start(self, event: Event) -> None:
        self.calls.append(("run_start", None))

    async def on_run_end(self, event: Event) -> None:
        await asyncio.sleep(0)
        self.calls.append(("run_end", None))

    def on_run_error(self, event: Event) -> None:
        self.calls.append(("run_error", None))

    def on_node_start(self, event: Event) -> None:
        raise RuntimeError("this callback is broken")

    async def on_node_end(self, event: Event) -> None:
        self.calls.append(("node_end", event.node))

    def on_node_error(self, event: Event) -> None:
        self.calls.append(("node_error", event.node))

    def on_node_retry(self, event: Event) -> None:
        self.calls.append(("node_retry", event.node))

    def on_node_skip(self, event: Event) -> None:
        self.calls.append(("node_skip", event.node))

    def on_token(self, event: Event) -> None:
        self.calls.append(("token", event.data["text"]))


def test_callbacks_hear_everything_in_order_and_a_failing_one_fails_nothing(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    retry = {"max_attempts": 2, "delay": "10ms"}
    nodes = {
        "poem": {"uses": "engine_nodes:recite_twice", "retry": retry},
        "dead": {"uses": "engine_nodes:echo", "with": {"value": 1}},
        "never": {"uses": "engine_nodes:echo", "with": {"value": 2}, "needs": ["dead"]},
    }
    edges = [{"from": "poem", "to": "dead", "when": "poem.output == 'x'"}]
    run = engine.start(nodes, edges=edges)
    heard = Heard()
    run.follow(heard)
    assert run.status() == "succeeded"
    assert heard.calls == [
        ("run_start", None),
        ("token", "attempt 1"),
        ("node_retry", "poem"),
        ("token", "attempt 2"),
        ("node_end", "poem"),
        ("node_skip", "dead"),
        ("node_skip", "never"),
        ("run_end", None),
    ]
    assert "this callback is broken" in caplog.text


def test_callbacks_hear_of_failures_from_an_event_loop_too(engine: Engine) -> None:
    run = engine.start({"a": {"uses": "engine_nodes:fail"}})
    heard = Heard()
    asyncio.run(run.afollow(heard))
    assert heard.calls == [("run_start", None), ("node_error", "a"), ("run_error", None)]


class _Then:
    """A sync callback of a sync program, which blocks and runs another flow."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.outputs: list[Any] = []

    def on_run_end(self, event: Event) -> None:
        run = Run.get(event.run, session=self.engine.session)
        nodes = {"a": {"uses": "engine_nodes:echo", "with": {"value": 2}}}
        self.outputs += [run.status(), run.result(20), self.engine.run(nodes).output]

    async def on_run_start(self, event: Event) -> None:
        await asyncio.sleep(0)
        self.outputs.append("begun")


def test_a_sync_callback_of_a_sync_program_may_run_another_flow(engine: Engine) -> None:
    run = engine.start({"a": {"uses": "engine_nodes:echo", "with": {"value": 1}}})
    then = _Then(engine)
    run.follow(then)
    assert then.outputs == ["begun", "succeeded", 1, 2]


def test_what_could_never_be_called_is_refused(engine: Engine) -> None:
    run = engine.start({"a": {"uses": "engine_nodes:numbers"}})
    with pytest.raises(UsageError, match="none of the methods of callbacks"):
        run.follow(object())
    with pytest.raises(UsageError, match="no callbacks are called 'nobody'"):
        run.follow("nobody")
    with pytest.raises(UsageError, match="cannot be found"):
        run.follow("json:nobody")
    with pytest.raises(UsageError, match=r"no event type is called 'node.tokens'"):
        list(run.events(types=["node.tokens"]))
    run.wait(timeout=60)


def _parse(stream: bytes) -> list[dict[str, str]]:
    """Read server-sent events as the HTML standard says."""
    events = []
    for block in stream.decode().split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            events.append(dict(line.split(": ", 1) for line in lines))
    return events


async def listen_to(run: Run, last: str | None = None) -> bytes:
    return b"".join([piece async for piece in sse(run, last_event_id=last)])


def test_server_sent_events_go_on_where_a_browser_was(engine: Engine) -> None:
    run = engine.start({"poem": {"uses": "engine_nodes:recite", "with": {"words": ["a\nb", "é"]}}})
    run.wait(timeout=60)

    whole = _parse(asyncio.run(listen_to(run)))
    assert [int(event["id"]) for event in whole] == list(range(1, len(whole) + 1))
    tokens = [json.loads(one["data"])["data"] for one in whole if one["event"] == "node.token"]
    assert tokens == [{"text": "a\nb"}, {"text": "é"}]
    assert _parse(asyncio.run(listen_to(run, "3"))) == whole[3:]
    with pytest.raises(UsageError, match="Last-Event-ID is the number of an event"):
        asyncio.run(listen_to(run, "x"))
    with pytest.raises(RunNotFoundError):
        asyncio.run(listen_to(Run("nobody", session=engine.session)))


def test_a_run_has_the_tags_of_its_flow_and_events_are_found_by_those_of_nodes(
    engine: Engine,
) -> None:
    nodes = {"a": {"uses": "engine_nodes:speak", "tags": ["loud"]}, "b": {"uses": "end"}}
    run = engine.start(nodes, tags=["nightly"])
    run.wait(timeout=60)
    assert run.summary().tags == ("nightly",)
    assert {event.node for event in run.events(tag="loud")} >= {"a"}
    assert all("a" in event.nodes for event in run.events(tag="loud"))

    async def streamed() -> list[Any]:
        return [event async for event in run.stream(tag="loud")]

    assert asyncio.run(streamed()) == list(run.events(tag="loud"))
    with pytest.raises(UsageError, match="has the tag 'quiet'; tags are loud"):
        next(run.events(tag="quiet"))


def test_logs_are_shown_in_a_shell(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = {"a": {"uses": "engine_nodes:speak", "tags": ["loud"]}}
    run = engine.start({**nodes, "b": {"uses": "engine_nodes:speak"}})
    run.wait(timeout=60)
    monkeypatch.setenv("FLOWCORE_REDIS_URL", engine.session.runtime.redis_url)
    monkeypatch.setenv("FLOWCORE_HOME", str(engine.home))

    def show(*words: str) -> list[str]:
        assert main(["logs", run.id, *words]) == 0
        return capsys.readouterr().out.splitlines()

    lines = show("--node", "b")
    assert [line.split(" ", 1)[1] for line in lines] == ["b INFO 3 words", "b progress done=3"]
    assert len(show("-f", "--tokens")) == 10
    rows = [json.loads(line) for line in show("-o", "jsonl", "--node", "a", "--tokens")]
    assert [row["data"] for row in rows][1:4] == [{"chunk": 0}, {"chunk": 1}, {"chunk": 2}]
    assert len(json.loads("".join(show("-o", "json")))) == 4
    assert show("--tag", "loud") == show("--node", "a")
    assert show("--tag", "loud", "--node", "b") == []
    assert main(["logs", run.id, "--tag", "quiet"]) == 2
    assert "no node of flow 'test' has the tag 'quiet'; tags are loud" in capsys.readouterr().err
    assert main(["logs", run.id, "--node", "c"]) == 3
    assert main(["logs", "nobody"]) == 3
    assert "has no node 'c'" in capsys.readouterr().err
