"""A fallback: what a node gives when its last attempt has failed; on real Celery workers."""

from typing import Any

import pytest

from flowcore.run.event import EventType
from tests.engine import Engine

BAD: dict[str, Any] = {"uses": "engine_nodes:fail_until", "with": {"attempt": 9}}


def test_downstream_goes_on_with_the_fallback_and_the_log_says_why(engine: Engine) -> None:
    handle = engine.start(
        {
            "price": {**BAD, "fallback": {"value": {"eur": 5}}},
            "show": {
                "uses": "passthrough",
                "with": {"got": "${{ nodes.price.output.eur }}"},
                "needs": ["price"],
            },
        }
    )
    result = handle.wait(60)
    assert result.success, result.error
    assert result.output["got"] == 5
    [said] = [event for event in handle.events() if event.type is EventType.NODE_FALLBACK]
    assert said.node == "price"
    assert said.data == {"error": {"type": "ConnectionError", "message": "attempt 1 fails"}}


def test_a_fallback_comes_after_the_last_retry(engine: Engine) -> None:
    retry = {"max_attempts": 2, "delay": 0}
    result = engine.run({"price": {**BAD, "retry": retry, "fallback": {"value": None}}})
    assert result.success, result.error
    assert (result.output, result.nodes["price"].attempts) == (None, 2)


def test_a_node_that_succeeds_does_not_use_its_fallback(engine: Engine) -> None:
    fine = {"uses": "engine_nodes:fail_until", "with": {"attempt": 1}, "fallback": {"value": 7}}
    handle = engine.start({"price": fine})
    assert handle.wait(60).output == 1
    assert EventType.NODE_FALLBACK not in [event.type for event in handle.events()]


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_timeout_leads_to_the_fallback(engine: Engine, threaded: Engine, pool: str) -> None:
    slow = {
        "uses": "engine_nodes:nap",
        "with": {"seconds": 8},
        "timeout": "300ms",
        "fallback": {"value": "late"},
    }
    result = {"prefork": engine, "threads": threaded}[pool].run({"slow": slow})
    assert result.output == "late", result.error
