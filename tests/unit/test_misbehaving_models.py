"""Every way of a model's server to misbehave has its outcome, streamed or not."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from flowcore.run.event import EventType
from flowcore.testing import Flows
from tests.misbehaving import Misbehaving, misbehaving
from tests.misbehaving_models import Gives
from tests.misbehaving_wire import BEHAVIOURS

RETRY = {"max_attempts": 2, "delay": "1ms", "backoff": "fixed", "jitter": False}


@pytest.fixture(scope="module")
def server() -> Iterator[Misbehaving]:
    with misbehaving() as server:
        server.models |= {name: one.page for name, one in BEHAVIOURS.items()}
        yield server


@pytest.fixture(autouse=True)
def _named(server: Misbehaving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "none")


def _asked(name: str, **given: Any) -> tuple[Any, str]:
    """The result of a run that asks a model, and what followers saw of its last attempt."""
    node = {"uses": "llm", "with": {"model": name, "prompt": "q", **given}, "retry": RETRY}
    flows = Flows()
    test = flows.start({"id": "ask", "nodes": {"ask": node}}, {})
    flows.run_out()
    events = list(test.events)
    last = max(
        (at for at, one in enumerate(events) if one.type is EventType.NODE_STARTED), default=0
    )
    tokens = [one.data["text"] for one in events[last:] if one.type is EventType.NODE_TOKEN]
    return test.result(), "".join(tokens)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("name", BEHAVIOURS)
def test_each_behaviour_has_its_outcome(server: Misbehaving, name: str, *, stream: bool) -> None:
    behaviour = BEHAVIOURS[name]
    result, seen = _asked(name, stream=stream, **behaviour.given)
    node, outcome = result.nodes["ask"], behaviour.outcome
    if isinstance(outcome, Gives):
        assert result.error is None
        output = result.output
        assert {key: output[key] for key in outcome.output} == outcome.output
        assert seen == ((output["text"] or "") if stream else "")
    else:
        assert node.error is not None
        assert node.error.type == outcome.type
        assert re.search(outcome.words, node.error.message), node.error.message
        assert f"{server.url}/v1/chat/completions" in node.error.message
        assert node.attempts == outcome.attempts
