"""Some behaviours of misbehaving servers, through a real worker: outcomes, tokens, waits."""

from pathlib import Path
from typing import Any

import pytest

from flowcore.run.event import EventType
from tests.engine import running_engine
from tests.misbehaving import Asked, Line, misbehaving
from tests.misbehaving_models import body
from tests.misbehaving_pages import PAGES
from tests.misbehaving_wire import BEHAVIOURS
from tests.services import running_valkey

GOOD = ("tool-calls-interleaved", "emoji-in-two-events", "several-choices")
BAD = ("cut-in-a-chunk", "error-in-the-middle", "html-with-200", "end-length")


def _asking(name: str) -> dict[str, Any]:
    given = {"model": name, "prompt": "q", **BEHAVIOURS[name].given}
    return {"uses": "llm", "with": given}


def test_outcomes_tokens_and_waits_are_those_of_a_real_worker(tmp_path: Path) -> None:
    def busy(line: Line, _: Asked) -> None:
        status, later = (200, {}) if line.turn else (503, {"Retry_After": "2"})
        line.reply(b"ok", status=status, kind="text/plain", **later)

    with (
        misbehaving() as server,
        running_valkey() as url,
        running_engine(url, tmp_path, http_allow="127.0.0.0/8") as engine,
        pytest.MonkeyPatch.context() as patch,
    ):
        server.models |= {name: BEHAVIOURS[name].page for name in (*GOOD, *BAD)}
        server.pages |= {"/busy": busy, "/gzip-cut": PAGES["gzip-cut"].page, "/x": body(b"{}")}
        patch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        patch.setenv("OPENAI_API_KEY", "none")
        engine.workers()
        nodes = {name: _asking(name) for name in (*GOOD, *BAD)}
        again = {"max_attempts": 2, "delay": "10ms"}
        nodes["busy"] = {"uses": "http", "with": {"url": f"{server.url}/busy"}, "retry": again}
        nodes["gzip-cut"] = {"uses": "http", "with": {"url": f"{server.url}/gzip-cut"}}
        handle = engine.start(nodes, config={"execution": {"fail_fast": False}})
        result = handle.wait(60)
        events = list(handle.events())
    for name in GOOD:
        output, outcome = result.outputs[name], BEHAVIOURS[name].outcome
        assert {key: output[key] for key in outcome.output} == outcome.output  # type: ignore[union-attr]
        tokens = [
            one.data["text"]
            for one in events
            if one.type is EventType.NODE_TOKEN and one.node == name
        ]
        assert "".join(tokens) == (output["text"] or "")
    for name in BAD:
        error, outcome = result.nodes[name].error, BEHAVIOURS[name].outcome
        assert error is not None
        assert error.type == outcome.type  # type: ignore[union-attr]
        assert f"{server.url}/v1/chat/completions" in error.message
    assert result.nodes["gzip-cut"].error is not None
    assert result.outputs["busy"]["body"] == "ok"
    began = [
        one.time for one in events if one.type is EventType.NODE_STARTED and one.node == "busy"
    ]
    assert began[1] - began[0] >= 2.0
