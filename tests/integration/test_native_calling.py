"""The node types that call something outside: ``http``, ``llm`` and ``tool``, on real workers."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flowcore.graph.diagnostic import InvalidFlowError
from flowcore.run.event import EventType
from tests.engine import Engine, running_engine
from tests.services import running_valkey

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


class Site:
    """A web server on the loopback whose pages are functions, and what it was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, Answer] = {}
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size)
                site.asked.append((self.command, self.path, dict(self.headers), body))
                site.pages[self.path.partition("?")[0]](self, body)

            do_GET = do_POST = _answer  # noqa: N815  (http.server's names)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


def reply(
    handler: BaseHTTPRequestHandler,
    body: bytes | str,
    *,
    status: int = 200,
    kind: str = "text/plain",
    **headers: str,
) -> None:
    packed = body.encode() if isinstance(body, str) else body
    handler.send_response(status)
    for name, value in {"Content-Type": kind, **headers}.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(packed)))
    handler.end_headers()
    handler.wfile.write(packed)


@contextmanager
def serving() -> Iterator[Site]:
    site = Site()
    thread = threading.Thread(target=site.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.server.shutdown()
        site.server.server_close()
        thread.join(10)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture(scope="module")
def open_engine(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine whose worker may reach the loopback, and whose model is the site."""
    with (
        running_valkey() as url,
        running_engine(url, tmp_path_factory.mktemp("open"), http_allow="127.0.0.0/8") as engine,
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OPENAI_BASE_URL", f"{site.url}/v1")
            patch.setenv("OPENAI_API_KEY", "none")
            engine.workers()
        yield engine


def _http(site: Site, path: str, **given: Any) -> dict[str, Any]:
    return {"call": {"uses": "http", "with": {"url": f"{site.url}{path}", **given}}}


# ── http ────────────────────────────────────────────────────────────────────────────────────────


def test_a_request_is_sent_as_it_is_written_and_its_answer_given_on(
    open_engine: Engine, site: Site
) -> None:
    site.pages["/echo"] = lambda it, body: reply(
        it, json.dumps({"got": json.loads(body)}), kind="application/json"
    )
    nodes = _http(
        site,
        "/echo",
        method="post",
        json={"n": "${{ inputs.n + 1 }}"},
        params={"q": "a b"},
        headers={"X-Mine": "yes"},
    )
    output = open_engine.run(nodes, {"n": 1}).output
    assert (output["status"], output["body"]) == (200, {"got": {"n": 2}})
    assert output["url"] == f"{site.url}/echo?q=a+b" or output["url"].endswith("q=a%20b")
    method, _, headers, _ = site.asked[-1]
    assert (method, headers["X-Mine"]) == ("POST", "yes")
    assert headers["Host"] == site.url.removeprefix("http://")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            "${{ [1.0, 0.0 / 0.0] }}",
            "'json' of node 'call'[1]: is nan, which JSON cannot represent",
        ),
        ("${{ {'a': b'x'} }}", "'json' of node 'call'['a']: is bytes, which JSON cannot represent"),
    ],
)
def test_what_json_does_not_have_is_refused_in_words_of_ours_and_not_sent(
    open_engine: Engine, site: Site, value: str, said: str
) -> None:
    site.pages["/none"] = lambda it, _: reply(it, "")
    error = open_engine.run(_http(site, "/none", method="post", json=value)).error
    assert error is not None
    assert f"UnsupportedValueError: {said}" in error
    assert all(path != "/none" for _, path, _, _ in site.asked)


def test_what_json_has_arrives_equal_and_says_what_it_is(open_engine: Engine, site: Site) -> None:
    site.pages["/kept"] = lambda it, body: reply(it, body, kind=it.headers["Content-Type"])
    value = {"é": [2**64 - 1, 1.0, None, True, "\u2028"], "": {}}
    for headers in ({}, {"content-type": "application/problem+json"}):
        output = open_engine.run(
            _http(site, "/kept", method="post", json="${{ inputs.v }}", headers=headers),
            {"v": value},
        ).output
        assert output["body"] == value
        assert output["headers"]["content-type"] == (
            headers.get("content-type") or "application/json"
        )


@pytest.mark.parametrize(
    ("kind", "body", "read"),
    [
        ("text/html; charset=latin-1", "é".encode("latin-1"), "é"),
        ("application/problem+json", b"[1]", [1]),
        ("application/octet-stream", b"\x00\xff", b"\x00\xff"),
    ],
)
def test_the_body_is_read_as_what_it_is(
    open_engine: Engine, site: Site, kind: str, body: bytes, read: Any
) -> None:
    site.pages["/kind"] = lambda it, _: reply(it, body, kind=kind)
    assert open_engine.run(_http(site, "/kind")).output["body"] == read


def test_a_status_that_may_pass_is_tried_again_and_one_that_will_not_is_not(
    open_engine: Engine, site: Site
) -> None:
    left = [503, 429, 200]
    site.pages["/busy"] = lambda it, _: reply(it, "x", status=left.pop(0))
    site.pages["/gone"] = lambda it, _: reply(it, "nothing here", status=404)
    retry = {"max_attempts": 3, "delay": "10ms", "backoff": "fixed"}
    nodes = _http(site, "/busy")
    nodes["call"]["retry"] = retry
    result = open_engine.run(nodes)
    assert (result.output["status"], result.nodes["call"].attempts) == (200, 3)
    nodes = _http(site, "/gone")
    nodes["call"]["retry"] = retry
    result = open_engine.run(nodes)
    assert result.error == (
        f"node 'call': HttpStatusError: {site.url}/gone answered 404: nothing here"
    )
    assert result.nodes["call"].attempts == 1
    accepting = _http(site, "/gone", accept=[404])
    assert open_engine.run(accepting).output["body"] == "nothing here"


def test_an_answer_that_is_too_large_or_too_slow_fails(open_engine: Engine, site: Site) -> None:
    site.pages["/large"] = lambda it, _: reply(it, b"x" * 2000)
    error = open_engine.run(_http(site, "/large", max_bytes=1000)).error
    assert error is not None
    assert "the answer is larger than 1,000 bytes" in error
    hold = threading.Event()

    def slow(it: BaseHTTPRequestHandler, _: bytes) -> None:
        hold.wait(20)
        reply(it, "late")

    site.pages["/slow"] = slow
    try:
        error = open_engine.run(_http(site, "/slow", timeout="300ms")).error
    finally:
        hold.set()
    assert error is not None
    assert "ReadTimeout" in error


def test_redirects_are_followed_and_each_of_them_is_looked_at(
    open_engine: Engine, site: Site
) -> None:
    site.pages["/from"] = lambda it, _: reply(it, "", status=302, Location="/to")
    site.pages["/to"] = lambda it, _: reply(it, "arrived")
    site.pages["/out"] = lambda it, _: reply(it, "", status=302, Location="http://10.1.1.1/")
    output = open_engine.run(_http(site, "/from")).output
    assert (output["body"], output["url"]) == ("arrived", f"{site.url}/to")
    error = open_engine.run(_http(site, "/out")).error
    assert error is not None
    assert "'10.1.1.1' is 10.1.1.1, which is not a public address" in error


def test_a_worker_that_was_told_nothing_reaches_public_addresses_only(
    engine: Engine, site: Site
) -> None:
    before = len(site.asked)
    error = engine.run(_http(site, "/to")).error
    assert error is not None
    assert "not a public address; if nodes are to reach it, name it in FLOWCORE_HTTP_ALLOW" in error
    assert len(site.asked) == before


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"url": "${{ inputs.url }}"},
            "'url' of http node 'call': expected a URL that begins with http:// or https://, got",
        ),
        (
            {"url": "http://a", "timeout": "${{ inputs.url }}"},
            "'timeout' of http node 'call': expected a duration such as '30s', '500ms' or",
        ),
    ],
)
def test_a_request_that_cannot_be_is_refused(
    open_engine: Engine, given: dict[str, Any], sentence: str
) -> None:
    error = open_engine.run({"call": {"uses": "http", "with": given}}, {"url": "ftp://x"}).error
    assert error is not None
    assert sentence in error


def test_what_a_url_says_stays_beside_what_is_added(open_engine: Engine, site: Site) -> None:
    site.pages["/query"] = lambda it, _: reply(it, "asked")
    given = {"params": {"b": [2, "c d"], "e": True, "f": None, "${{": 1}}
    output = open_engine.run(_http(site, "/query?a=1", **given)).output
    assert output["url"] == f"{site.url}/query?a=1&b=2&b=c+d&e=true&f=&%24%7B%7B=1"
    output = open_engine.run(_http(site, "/query?a=1", params={})).output
    assert output["url"] == f"{site.url}/query?a=1"
    node = _http(site, "/query?a=1", params={"a": "${{ 2 }}"})
    with pytest.raises(InvalidFlowError, match="FC216"):
        open_engine.run(node)
    node["call"]["with"]["url"] = "${{ inputs.url }}"
    error = open_engine.run(node, {"url": f"{site.url}/query?a=1"}).error
    assert error is not None
    assert "'a' is in the query of the URL already" in error


# ── llm ─────────────────────────────────────────────────────────────────────────────────────────


def _model(it: BaseHTTPRequestHandler, body: bytes) -> None:
    """Speaks OpenAI's protocol: says back the last message, a word at a time."""
    asked = json.loads(body)
    said = f"You said: {asked['messages'][-1]['content']}"
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    head = {"id": "x", "created": 1, "model": asked["model"]}
    if not asked.get("stream"):
        message = {"role": "assistant", "content": said}
        choices = [{"index": 0, "finish_reason": "stop", "message": message}]
        answer = {**head, "object": "chat.completion", "choices": choices, "usage": usage}
        reply(it, json.dumps(answer), kind="application/json")
        return
    words = said.split(" ")
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": word + " " * (at + 1 < len(words))}}]}
        for at, word in enumerate(words)
    ]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks.append({"choices": [], "usage": usage})
    whole = {**head, "object": "chat.completion.chunk"}
    lines = [f"data: {json.dumps({**whole, **chunk})}\n\n" for chunk in chunks]
    reply(it, "".join([*lines, "data: [DONE]\n\n"]), kind="text/event-stream")


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_is_asked_and_its_answer_given_on(
    open_engine: Engine, site: Site, *, stream: bool
) -> None:
    site.pages["/v1/chat/completions"] = _model
    nodes = {
        "ask": {
            "uses": "llm",
            "with": {"prompt": "hi ${{ inputs.name }}", "system": "Be brief", "stream": stream},
        }
    }
    config = {"llm": {"model": "small", "temperature": 0.5}}
    handle = open_engine.start(nodes, {"name": "you"}, config=config)
    assert handle.wait(60).output == {
        "text": "You said: hi you",
        "model": "small",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        "tool_calls": [],
        "reasoning": None,
        "refusal": None,
        "choices": None,
        "extra": None,
    }
    asked = json.loads(site.asked[-1][3])
    assert (asked["model"], asked["temperature"]) == ("small", 0.5)
    assert [one["role"] for one in asked["messages"]] == ["system", "user"]
    tokens = [event.data["text"] for event in handle.events() if event.type is EventType.NODE_TOKEN]
    assert "".join(tokens) == ("You said: hi you" if stream else "")


def test_a_model_gets_what_flows_in_and_may_be_named_by_the_definition(
    open_engine: Engine, site: Site
) -> None:
    site.pages["/other/chat/completions"] = _model
    nodes = {
        "text": {"uses": "structured_nodes:echo", "with": {"value": "from before"}},
        "ask": {
            "uses": "llm",
            "needs": ["text"],
            "with": {"model": "m", "base_url": f"{site.url}/other"},
        },
    }
    assert open_engine.run(nodes).output["text"] == "You said: from before"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            {"model": "${{ null }}", "prompt": "x"},
            "llm node 'ask' needs 'model', in the node's 'with' or in 'config.llm'",
        ),
        ({"model": "m"}, "llm needs a 'prompt' or 'messages'"),
        (
            {"model": "m", "prompt": "x", "base_url": "http://10.1.1.1/v1"},
            "which is not a public address",
        ),
    ],
)
def test_a_model_that_cannot_be_asked_says_why(
    open_engine: Engine, given: dict[str, Any], sentence: str
) -> None:
    error = open_engine.run({"ask": {"uses": "llm", "with": given}}).error
    assert error is not None
    assert sentence in error


# ── tool ────────────────────────────────────────────────────────────────────────────────────────

TOOLS = {"tools": ["structured_nodes:greet", "structured_nodes:double"]}


@pytest.mark.parametrize("name", ["greet", "structured_nodes:greet"])
def test_a_tool_is_called_by_a_name_that_comes_up(engine: Engine, name: str) -> None:
    given = {"name": "${{ inputs.tool }}", "args": {"name": "you"}}
    nodes = {"t": {"uses": "tool", "with": given}}
    assert engine.run(nodes, {"tool": name}, config=TOOLS).output == "hello you"


@pytest.mark.parametrize("name", ["note", "structured_nodes:note", "os:system", ""])
def test_what_is_no_tool_of_the_flow_is_not_called(
    engine: Engine, name: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    given = {"name": "${{ inputs.tool }}", "args": {"what": "x", "log": str(log)}}
    nodes = {"t": {"uses": "tool", "with": given}}
    error = engine.run(nodes, {"tool": name}, config=TOOLS).error
    assert error is not None
    assert "is none of this flow's tools" in error or "expected the name of a tool" in error
    assert not log.exists()


# ── what may be named ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("place", ["uses", "fallback", "tool", "stored"])
def test_no_definition_runs_a_command_by_naming_an_installed_function(
    engine: Engine, place: str, tmp_path: Path
) -> None:
    """Whatever let the plan pass before, the worker judges the name again."""
    proof = tmp_path / "ran"
    given = {"stream": f"!!python/object/apply:os.system ['touch {proof}']"}
    named = "yaml:unsafe_load"
    fails = {"uses": "engine_nodes:fail"}
    nodes: dict[str, dict[str, Any]] = {
        "uses": {"uses": named, "with": given},
        "fallback": {**fails, "fallback": {"uses": named}},
        "tool": {"uses": "tool", "with": {"name": "unsafe_load", "args": given}},
        "stored": {"uses": "os:system", "with": {"command": f"touch {proof}"}},
    }
    config = {"tools": [named]} if place == "tool" else None
    error = engine.run({"a": nodes[place]}, config=config).error
    assert error is not None
    assert "is not allowed" in error
    assert "FLOWCORE_ALLOWED_MODULES=" in error
    assert not proof.exists()
