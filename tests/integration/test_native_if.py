"""A node's own condition, on real Celery workers: alone, in units, behind limits, on a canvas."""

from typing import Any

import pytest

from flowcore import Flow
from flowcore.errors import UsageError
from flowcore.run.event import EventType
from flowcore.run.status import NodeState
from tests.engine import Engine

ECHO = "engine_nodes:echo"


def _flow(condition: str, **more: Any) -> dict[str, Any]:
    return {
        "a": {"uses": ECHO, "with": {"value": {"n": 3}}},
        "b": {"uses": ECHO, "needs": ["a"], "if": condition, "with": {"value": "ran"}, **more},
        "then": {"uses": ECHO, "needs": ["b"], "with": {"value": "then"}},
        "anyway": {"uses": ECHO, "needs": ["a", "b"], "join": "all_done", "with": {"value": 1}},
    }


def _states(engine: Engine, condition: str, given: Any = None, **more: Any) -> dict[str, str]:
    result = engine.run(_flow(condition, **more), given)
    return {name: record.state.value for name, record in result.nodes.items()}


@pytest.mark.parametrize(
    "more",
    [{}, {"timeout": "30s"}, {"concurrency": 1}, {"cache": "1m"}],
    ids=["in a unit", "alone", "behind a limit", "cached"],
)
def test_a_node_runs_or_is_skipped_with_what_only_it_leads_to(
    engine: Engine, more: dict[str, Any]
) -> None:
    ran = _states(engine, "a.output.n > 2", **more)
    assert ran == dict.fromkeys(("a", "b", "then", "anyway"), "succeeded")
    skipped = _states(engine, "a.output.n > 3", **more)
    assert skipped == {"a": "succeeded", "b": "skipped", "then": "skipped", "anyway": "succeeded"}


def test_a_first_node_may_read_the_input(engine: Engine) -> None:
    nodes = {"a": {"uses": ECHO, "if": "inputs.go", "with": {"value": 1}}}
    assert engine.run(nodes, {"go": True}).output == 1
    result = engine.run(nodes, {"go": False})
    assert result.success
    assert result.nodes["a"].state is NodeState.SKIPPED


def test_a_condition_of_an_edge_that_cannot_be_worked_out_is_no_reason_to_run_again(
    engine: Engine,
) -> None:
    nodes = {
        "a": {"uses": ECHO, "with": {"value": {"n": 3}}, "retry": {"max_attempts": 3, "delay": 0}},
        "b": {"uses": ECHO, "with": {"value": 1}},
    }
    edges = [{"from": "a", "to": "b", "when": "a.output.nosuch > 1"}]
    result = engine.run(nodes, edges=edges)
    assert "a.output.nosuch > 1" in (result.error or "")
    assert result.nodes["a"].attempts == 1


def test_a_skip_is_told_and_is_no_failure(engine: Engine) -> None:
    handle = engine.start(_flow("false"))
    assert handle.wait(60).success
    skips = [event.nodes for event in handle.events() if event.type is EventType.NODES_SKIPPED]
    assert [name for names in skips for name in names] == ["b", "then"]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("a.output.n", "'if' of node 'b': a.output.n: it is 3, not true or false"),
        (
            "a.output.m > 1",
            "'if' of node 'b': a.output.m > 1: there is no key 'm' (at character 10)",
        ),
    ],
)
def test_a_condition_that_cannot_be_worked_out_fails_the_node(
    engine: Engine, condition: str, message: str
) -> None:
    error = engine.run(_flow(condition)).nodes["b"].error
    assert error is not None
    assert error.type == "ExpressionError"
    assert error.message.startswith(message)


def test_a_resumed_run_asks_again(engine: Engine) -> None:
    nodes = {
        **_flow("false"),
        "bad": {"uses": "engine_nodes:fail", "needs": ["anyway"]},
    }
    handle = engine.start(nodes)
    handle.wait(60)
    handle.resume()
    result = handle.wait(60)
    assert not result.success
    assert result.nodes["b"].state is NodeState.SKIPPED


def test_a_canvas_refuses_it(engine: Engine) -> None:
    flow = Flow.load({"id": "f", "nodes": _flow("true")})
    with pytest.raises(UsageError, match="node 'b' has 'if'"):
        flow.to_canvas(session=engine.session)
