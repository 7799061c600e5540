"""Every way of a web server to misbehave has its outcome; what a request says is sent as it is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcore.graph.diagnostic import InvalidFlowError
from flowcore.testing import Flows
from tests.misbehaving import Misbehaving, misbehaving
from tests.misbehaving_models import Gives, body, sends
from tests.misbehaving_pages import PAGES, echo

RETRY = {"max_attempts": 2, "delay": "1ms", "backoff": "fixed", "jitter": False}


@pytest.fixture(scope="module")
def server() -> Iterator[Misbehaving]:
    with misbehaving() as server:
        server.pages |= {f"/{name}": one.page for name, one in PAGES.items()}
        yield server


@pytest.fixture(autouse=True)
def _allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWCORE_HTTP_ALLOW", "127.0.0.0/8")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # of no concern to this node


def _called(url: str, **given: Any) -> Any:
    node = {"uses": "http", "with": {"url": url, **given}, "retry": RETRY}
    flows = Flows()
    test = flows.start({"id": "call", "nodes": {"call": node}}, {})
    flows.run_out()
    return test.result()


@pytest.mark.parametrize("name", PAGES)
def test_each_page_has_its_outcome(server: Misbehaving, name: str) -> None:
    expected = PAGES[name]
    result = _called(f"{server.url}/{name}", **expected.given)
    node, outcome = result.nodes["call"], expected.outcome
    if isinstance(outcome, Gives):
        assert result.error is None
        assert {key: result.output.get(key) for key in outcome.output} == outcome.output
        if isinstance(result.output["body"], str) and "warning" not in outcome.output:
            assert "warning" not in result.output
    else:
        assert node.error is not None
        assert node.error.type == outcome.type, node.error.message
        assert re.search(outcome.words, node.error.message), node.error.message
        assert f"{server.url}/{name}" in node.error.message
        assert node.attempts == outcome.attempts


def test_another_host_gets_nothing_that_was_not_for_it(server: Misbehaving) -> None:
    secret = {"Authorization": "Bearer a", "X-Api-Key": "b", "Cookie": "c=d", "X-Mine": "e"}
    kept = {"Accept": "text/x-mine", "Content-Type": "text/plain"}
    with misbehaving("127.0.0.2") as other:
        other.pages["/echo"] = echo
        server.pages["/away"] = sends(b"", None, 307, Location=f"{other.url}/echo")
        server.pages["/home"] = sends(b"", None, 307, Location="/echo")
        for path, goes_along in (("/away", False), ("/home", True)):
            given = {"method": "POST", "body": "b", "headers": {**secret, **kept}}
            got = _called(f"{server.url}{path}", **given).output["body"]
            assert (got["method"], got["body"]) == ("POST", "b")
            headers = got["headers"]
            assert {name: headers[name.lower()] for name in kept} == kept
            for name, value in secret.items():
                assert headers.get(name.lower()) == (value if goes_along else None)


def test_an_error_shows_neither_the_query_nor_a_password(server: Misbehaving) -> None:
    address = server.url.replace("http://", "http://me:pass-word@")
    error = _called(f"{address}/status-404?token=abcdef", accept=[200]).error
    assert "/status-404 answered 404" in error
    assert "pass-word" not in error
    assert "abcdef" not in error


def test_the_two_ends_of_a_redirect_are_named(server: Misbehaving) -> None:
    server.pages["/moved"] = sends(b"", None, 302, Location="/status-404")
    error = _called(f"{server.url}/moved").error
    assert f"{server.url}/moved, redirected to {server.url}/status-404 answered 404" in error


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        ("http://127.0.0.1:9/x?a=1", "httpx2.ConnectError", "http://127.0.0.1:9/x: "),
        ("http://nosuch.invalid/x", "socket.gaierror", "http://nosuch.invalid/x: the address of"),
        (f"http://{'a' * 70}.example/", "UsageError", "cannot be the name of a host"),
        ("http://10.1.1.1/x", "UsageError", "http://10.1.1.1/x: '10.1.1.1' is 10.1.1.1, which is"),
    ],
)
def test_an_address_that_cannot_be_reached_is_named(url: str, kind: str, said: str) -> None:
    failure = _called(url).nodes["call"].error
    assert (failure.type, said in failure.message) == (kind, True), failure.message


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"body": {"a": 1}}, "write it as 'json'"),
        ({"accept": "404"}, "a list of statuses"),
        ({"headers": {"X-N": [5]}}, "the text of a header"),
        ({"headers": {"X-N": "日本"}}, "the text of a header is ASCII"),
        ({"headers": {"X-N": "a\r\nX-M: b"}}, "the text of a header is one line"),
        ({"headers": {"Content-Length": "5"}}, "is set by the request itself"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "is given twice"),
        ({"json": 1, "body": "x"}, "json"),
        ({"verify": False}, "verify"),
        ({"proxies": {}}, "proxies"),
        ({"follow_redirects": False}, "follow_redirects"),
    ],
)
def test_a_word_that_the_node_does_not_know_is_refused_before_it_runs(
    given: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidFlowError, match=re.escape(said)):
        _called("http://127.0.0.1:9/", **given)


def test_what_a_request_says_is_sent_as_it_is(server: Misbehaving) -> None:
    given = {"json": {"a": 1}, "headers": {"content-type": "application/x-mine"}}
    got = _called(f"{server.url}/echo", method="post", **given).output["body"]
    assert (got["headers"]["content-type"], got["body"]) == ("application/x-mine", '{"a":1}')
    got = _called(f"{server.url}/echo", body="asked", headers={"X-N": 5}).output["body"]
    assert (got["method"], got["body"], got["headers"]["x-n"]) == ("GET", "asked", "5")
    address = server.url.replace("http://", "http://me:pw@")
    got = _called(f"{address}/echo").output["body"]
    assert got["headers"]["authorization"] == "Basic bWU6cHc="
    assert got["headers"]["accept-encoding"] == "gzip, deflate"
    node = {"url": f"{address}/echo", "headers": {"Authorization": "x"}}
    with pytest.raises(InvalidFlowError, match="has a user of its own"):
        Flows().start({"id": "call", "nodes": {"call": {"uses": "http", "with": node}}}, {})


def test_a_certificate_that_nobody_vouches_for_is_refused_and_cannot_be_let_pass(
    server: Misbehaving,
) -> None:
    """The server speaks no TLS at all, which is what a client sees of most wrong certificates."""
    failure = _called(server.url.replace("http://", "https://")).nodes["call"].error
    assert failure.type == "httpx2.ConnectError"
    assert "SSL" in failure.message


def test_the_table_has_a_row_for_each_page() -> None:
    table = Path("docs/reference/http-and-llm.md").read_text()
    rows = set(re.findall(r"^\| `http:([^`]+)`", table, re.MULTILINE))
    named = {name for row in rows for name in row.split(", ")}
    assert named == PAGES.keys()


def test_a_page_of_a_server_that_asks_to_wait_is_asked_again_no_sooner(
    server: Misbehaving,
) -> None:
    for at, (asked, delay, most, waits) in enumerate(
        [
            ("7", "1s", "60s", (7.0, 7.7)),
            ("0.5", "2s", "60s", (1.0, 2.0)),
            ("3600", "1s", "10s", (10.0, 10.0)),
            ("-5", "1s", "60s", (0.5, 1.0)),
            ("soon", "1s", "60s", (0.5, 1.0)),
            ("Wed, 21 Oct 2037 07:28:00 GMT", "1s", "20s", (20.0, 20.0)),
            ("Wed, 21 Oct 2015 07:28:00 GMT", "1s", "20s", (0.5, 1.0)),
        ]
    ):
        server.pages[f"/again-{at}"] = body(b"busy", "text/plain", 503, Retry_After=asked)
        retry = {"max_attempts": 2, "delay": delay, "max_delay": most}
        node = {"uses": "http", "with": {"url": f"{server.url}/again-{at}"}, "retry": retry}
        flows = Flows()
        test = flows.start({"id": "call", "nodes": {"call": node}}, {})
        flows.run_out()
        began = [one.time for one in test.events if one.type.value == "node.started"]
        assert waits[0] - 0.01 <= began[1] - began[0] <= waits[1] + 0.01, asked
