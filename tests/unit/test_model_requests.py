"""What the node ``llm`` sends, to whom, and when it asks again."""

import itertools
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowcore.errors import AnswerError
from flowcore.graph.diagnostic import InvalidFlowError
from flowcore.nodes.llm.answer import Answer
from flowcore.nodes.llm.events import Reader
from flowcore.testing import Flows
from tests.deep import count
from tests.misbehaving import Asked, Line, Misbehaving, misbehaving
from tests.misbehaving_models import body, chunk, event, plain_answer
from tests.misbehaving_wire import BEHAVIOURS

HI = json.dumps(plain_answer({"content": "Hi"})).encode()


@pytest.fixture(scope="module")
def server() -> Iterator[Misbehaving]:
    with misbehaving() as server:
        server.models["hi"] = body(HI)
        yield server


@pytest.fixture(autouse=True)
def _own(server: Misbehaving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-worker")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-worker")
    monkeypatch.setenv("FLOWCORE_HTTP_ALLOW", "127.0.0.0/8")


def _asked(server: Misbehaving, **given: Any) -> tuple[Any, Any]:
    said = {"model": "hi", "prompt": "q", **given}
    result = Flows().run({"id": "ask", "nodes": {"ask": {"uses": "llm", "with": said}}}, {})
    asked = server.asked[said["model"]]
    return result, asked[-1] if asked else None


@pytest.mark.parametrize("end", ["/v1", "/v1/", "/v1?api-version=1", "/other/", ""])
@pytest.mark.parametrize("is_named", [True, False], ids=["definition", "environment"])
def test_an_address_is_taken_as_it_is(
    server: Misbehaving, monkeypatch: pytest.MonkeyPatch, end: str, *, is_named: bool
) -> None:
    given = {"base_url": f"{server.url}{end}"} if is_named else {}
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}{end}")
    result, asked = _asked(server, **given)
    assert result.output["text"] == "Hi"
    path, _, query = end.partition("?")
    expected = f"{path.rstrip('/')}/chat/completions"
    assert asked.path == (f"{expected}?{query}" if query else expected)


def test_the_path_of_a_request_is_not_said_twice(
    server: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = f"{server.url}/v1/chat/completions"
    with pytest.raises(InvalidFlowError, match=r"write http://127.0.0.1:\d+/v1\)"):
        _asked(server, base_url=whole)
    monkeypatch.setenv("OPENAI_BASE_URL", whole)
    assert _asked(server)[1].path == "/v1/chat/completions"
    monkeypatch.setenv("OPENAI_BASE_URL", "localhost:8000")
    assert "OPENAI_BASE_URL of the worker is not a URL" in _asked(server)[0].error


def test_the_key_of_the_worker_is_for_its_own_server_alone(server: Misbehaving) -> None:
    _, asked = _asked(server, base_url=f"{server.url}/else")
    assert asked.headers["authorization"] == "Bearer sk-of-the-worker"
    with misbehaving("127.0.0.2") as other:
        other.models["hi"] = body(HI)
        result, asked = _asked(other, base_url=f"{other.url}/v1")
        assert result.output["text"] == "Hi"
        assert "of-the-worker" not in str(asked.headers)
        _, asked = _asked(other, base_url=f"{other.url}/v1", api_key="mine")
        assert asked.headers["authorization"] == "Bearer mine"
        other.models["hi"] = body({"error": {"message": "who?"}}, status=401)
        result, _ = _asked(other, base_url=f"{other.url}/v1")
        assert "no key was sent: the worker's OPENAI_API_KEY is for its" in result.error


def test_a_user_in_the_address_is_who_asks(server: Misbehaving) -> None:
    named = server.url.replace("http://", "http://me:pw@")
    _, asked = _asked(server, base_url=f"{named}/v1")
    assert asked.headers["authorization"] == "Basic bWU6cHc="
    with pytest.raises(InvalidFlowError, match="the URL has a user of its own"):
        _asked(server, base_url=f"{named}/v1", api_key="mine")


def test_a_key_is_shown_by_no_error(server: Misbehaving) -> None:
    told = {"error": {"message": "Incorrect API key: sk-of-the-worker"}}
    server.models["who"] = body(told, status=401)
    error = _asked(server, model="who")[0].error
    assert "answered 401: Incorrect API key: ***" in error
    error = _asked(server, api_key="${{ 'sk-mine' + '\\n' }}")[0].error
    assert "the key has characters that no header can carry" in error
    assert "sk-mine" not in error


def test_options_go_into_the_request_and_nothing_is_said_twice(server: Misbehaving) -> None:
    options = {
        "top_k": 5,
        "seed": 7,
        "extra_headers": {"X-Mine": "a", "X-N": 5},
        "extra_query": {"q": "b"},
        "extra_body": {"min_p": 0.5},
    }
    _, asked = _asked(server, options=options, stream=False, temperature=0, max_tokens=9)
    sent = asked.json
    assert {key: sent[key] for key in ("top_k", "seed", "min_p")} == {
        "top_k": 5, "seed": 7, "min_p": 0.5
    }  # fmt: skip
    assert (sent["stream"], sent["temperature"], sent["max_tokens"]) == (False, 0, 9)
    assert "stream_options" not in sent
    assert "extra_headers" not in sent
    assert (asked.headers["x-mine"], asked.headers["x-n"]) == ("a", "5")
    assert asked.path.endswith("?q=b")
    assert _asked(server)[1].json["stream_options"] == {"include_usage": True}
    _, asked = _asked(server, options={"stream_options": None})
    assert "stream_options" not in asked.json


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "m"}, "'model' has a key of its own"),
        ({"stream": True}, "'stream' has a key of its own"),
        ({"extra_body": {"messages": []}}, "'messages' is given twice"),
        ({"seed": 1, "extra_body": {"seed": 2}}, "'seed' is given twice"),
        ({"extra_headers": {"X": "a\nb"}}, "the text of a header is one line"),
        ({"extra_headers": "X: a"}, "a mapping of headers"),
        ({"extra_query": {"a": {}}}, "expected text, a number"),
        ({"extra_body": [1]}, "a mapping of values"),
    ],
)
def test_an_option_that_cannot_be_is_refused_before_it_runs(
    server: Misbehaving, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidFlowError, match=re.escape(said)):
        _asked(server, options=options)


def test_proxies_are_for_the_server_of_the_worker_alone(
    server: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert _asked(server, base_url=f"{server.url}/v1")[0].output["text"] == "Hi"
    assert "/v1/chat/completions: [Errno" in _asked(server)[0].error


def test_calls_of_tools_can_be_given_back_as_they_came(server: Misbehaving) -> None:
    server.models["tools"] = BEHAVIOURS["tool-calls-interleaved"].page
    said = _asked(server, model="tools")[0].output
    answer = {"role": "assistant", "content": said["text"], "tool_calls": said["tool_calls"]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "sunny"}
    _, asked = _asked(server, messages=[answer, result])
    calls = list(asked.json["messages"][0]["tool_calls"])
    assert [sorted(call) for call in calls] == [["function", "id", "type"]] * 2
    assert [call["function"]["name"] for call in calls] == ["weather", "time"]


def test_a_model_that_asks_to_wait_is_asked_again_no_sooner(server: Misbehaving) -> None:
    def busy(line: Line, asked: Asked) -> None:
        later = {"Retry_After": "20"} if line.turn == 0 else {"retry_after_ms": "5500"}
        if line.turn < 2:
            line.reply(b"{}", status=429, kind="application/json", **later)
        else:
            line.reply(HI, kind="application/json")

    server.models["busy"] = busy
    node = {
        "uses": "llm",
        "with": {"model": "busy", "prompt": "q"},
        "retry": {"max_attempts": 3, "delay": "1s", "retry_on": ["RateLimitError"]},
    }
    flows = Flows()
    test = flows.start({"id": "ask", "nodes": {"ask": node}}, {})
    flows.run_out()
    assert test.result().output["text"] == "Hi"
    began = [one.time for one in test.events if one.type.value == "node.started"]
    waits = [after - before for before, after in itertools.pairwise(began)]
    assert 20 <= waits[0] <= 22.1
    assert 5.5 <= waits[1] <= 6.1


@pytest.mark.parametrize("name", [name for name, one in BEHAVIOURS.items() if one.whole])
def test_a_stream_and_a_whole_answer_give_the_same(server: Misbehaving, name: str) -> None:
    behaviour = BEHAVIOURS[name]
    server.models[name] = behaviour.page
    results = [
        _asked(server, model=name, stream=stream, **behaviour.given)[0] for stream in (True, False)
    ]
    assert [one.success for one in results] in ([True, True], [False, False])
    if results[0].success:
        assert results[0].output == results[1].output
    else:
        assert results[0].error == results[1].error


def test_the_table_has_a_row_for_each_behaviour() -> None:
    table = Path("docs/reference/http-and-llm.md").read_text()
    rows = re.findall(r"^\| `llm:([^`]+)`", table, re.MULTILINE)
    named = [name for row in rows for name in row.split(", ")]
    assert len(named) == len(set(named))
    assert set(named) == BEHAVIOURS.keys()


def test_no_part_of_an_answer_passes_for_the_whole() -> None:
    """A stream that is cut anywhere before its end fails; in any pieces it says the same."""
    dice = random.Random(5)
    alphabet = 'aé日😀\n"\\\u2028 '
    for _ in range(count(150, 3000)):
        words = ["".join(dice.choices(alphabet, k=dice.randrange(1, 6))) for _ in range(4)]
        end = dice.choice(["\n", "\r\n", "\r"])
        parts = [event(chunk({"content": word}), end) for word in words]
        last = [event(chunk({}, "stop"), end), event("[DONE]", end)]
        whole = b"".join(parts + last)
        assert _read(_pieces(whole, dice)) == "".join(words)
        before_end = len(b"".join(parts))
        cut = whole[: dice.randrange(1, before_end)]
        with pytest.raises(AnswerError):
            _read(_pieces(cut, dice))


def _pieces(data: bytes, dice: random.Random) -> Iterator[bytes]:
    while data:
        size = dice.choice([1, 2, 3, 7, 50, 1000])
        yield data[:size]
        data = data[size:]


def _read(parts: Iterator[bytes]) -> str:
    reader, answer = Reader(), Answer()
    seen = [answer.add(document) for document in reader.read(parts)]
    seen.append(answer.end(ended=reader.ended))
    assert "".join(seen) == answer.plain()["text"]
    return "".join(seen)


def weather(city: str) -> str:
    """A tool."""
    return f"sunny in {city}"


def test_a_tool_that_a_model_asks_for_is_called_as_the_guide_shows(server: Misbehaving) -> None:
    guide = Path("docs/how-to/calling-out.md").read_text()
    examples = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)]
    (nodes,) = [each["nodes"] for each in examples if {"ask", "act"} <= set(each.get("nodes", ()))]
    server.models["tools"] = BEHAVIOURS["tool-calls-interleaved"].page
    server.models["text"] = BEHAVIOURS["text"].page
    config = {"llm": {"model": "tools"}, "tools": [f"{__name__}:weather"]}
    given = {"question": "Rome?", "tools": [{"type": "function", "function": {"name": "weather"}}]}
    flow = {"id": "tools", "config": config, "nodes": nodes}
    flow["inputs"] = {"question": {"type": "string"}, "tools": {"type": "array"}}
    result = Flows().run(flow, given)
    assert result.error is None
    assert result.outputs["act"] == "sunny in Rome"
    assert server.asked["tools"][-1].json["tools"] == given["tools"]
    result = Flows().run({**flow, "config": {**config, "llm": {"model": "text"}}}, given)
    assert (result.error, result.nodes["act"].state.value) == (None, "skipped")
