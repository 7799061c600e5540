"""What nodes give, held to what they say; and many runs at once."""

from typing import Any

import pytest

from flowcore import Run
from flowcore.errors import RunStateError, UsageError
from flowcore.run.status import NodeState, RunState
from tests.engine import Engine, poll

N = "structured_nodes:"
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 1}},
    "required": ["n"],
}


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ({"n": 1}, None),
        ({"n": 0}, "n"),
        ({"n": "x"}, "n"),
        ({}, '"n"'),
        ([], "object"),
    ],
)
def test_a_node_is_held_to_its_schema(engine: Engine, value: Any, wrong: str | None) -> None:
    nodes = {"a": {"uses": N + "echo", "with": {"value": value}, "output": SCHEMA}}
    error = engine.run(nodes).error
    if wrong is None:
        assert error is None
    else:
        assert error is not None
        assert error.startswith(
            "node 'a': OutputError: output of node 'a' does not match its schema: "
        )
        assert wrong in error


def test_each_item_of_a_map_is_held_to_the_schema(engine: Engine) -> None:
    nodes = {"m": {"uses": N + "double", "for_each": [1, 2], "output": {"maximum": 2}}}
    error = engine.run(nodes).error
    assert error is not None
    assert error.startswith("node 'm[1]': OutputError")


def test_a_sub_flow_is_held_to_the_schema(engine: Engine) -> None:
    sub = {"nodes": {"x": {"uses": N + "echo", "with": {"value": "text"}}}}
    nodes = {"s": {"uses": "workflow", "flow": sub, "output": {"type": "integer"}}}
    error = engine.run(nodes).error
    assert error is not None
    assert "OutputError: output of node 's' does not match its schema" in error


@pytest.mark.parametrize(("stars", "good"), [("3", True), ("many", False)])
def test_a_function_is_held_to_the_model_that_it_says_it_returns(
    engine: Engine, stars: str, *, good: bool
) -> None:
    nodes = {"r": {"uses": N + "rate", "with": {"stars": stars}}}
    result = engine.run(nodes)
    if good:
        assert result.output == {"stars": 3, "text": "fine"}
    else:
        assert result.error is not None
        assert "OutputError: output of node 'r' does not match its schema: stars:" in result.error


def test_many_runs_are_paused_resumed_and_cancelled_at_once(engine: Engine) -> None:
    nodes = {"w": {"uses": "signal", "with": {"name": "go"}}}
    runs = [engine.start(nodes, id="bulk") for _ in range(3)]
    other = engine.start(nodes, id="other")
    reader = engine.session.runtime.reader
    for run in runs:
        poll(
            lambda run=run: reader.states(run.id, [0])[0] is NodeState.WAITING,  # type: ignore[misc]
            what="the run to wait",
        )
    ids = {run.id for run in runs}

    def all_(action: Any, **more: Any) -> Any:
        return Run.all(action, flow="bulk", session=engine.session, **more)

    assert all_("pause") == dict.fromkeys(ids, RunState.PAUSED)
    assert all_("pause", state="running") == {}
    refused = all_("pause", state="paused")
    assert set(refused) == ids
    resumed = all_("resume")
    assert set(resumed.values()) == {RunState.RUNNING}
    stuck = all_("resume", state="running")
    assert all(isinstance(what, RunStateError) for what in stuck.values())
    assert all_("cancel") == dict.fromkeys(ids, RunState.CANCELLED)
    assert other.status() is not RunState.CANCELLED
    assert [run.id for run in Run.query(flow="other", session=engine.session)] == [other.id]
    other.cancel()
    with pytest.raises(UsageError, match="say which runs to cancel: by state, flow or tag"):
        Run.all("cancel", session=engine.session)


def test_a_node_has_the_idempotency_key_that_it_says(engine: Engine) -> None:
    key = {"idempotency_key": "order-${{ inputs.order }}-${{ item }}"}
    nodes = {
        "own": {"uses": "engine_nodes:facts"},
        "said": {"uses": N + "key_of", "for_each": [1, 2], **key},
    }
    handle = engine.start(nodes, {"order": 7})
    result = handle.wait(60)
    assert result.outputs["own"]["key"] == f"{handle.id}.own"
    assert result.outputs["said"] == ["order-7-1", "order-7-2"]


def test_a_node_goes_into_the_lane_of_its_priority(make_engine: Any, tmp_path: Any) -> None:
    nodes = {
        "high": {"uses": N + "echo", "with": {"value": 1}, "priority": 9},
        "low": {"uses": N + "echo", "with": {"value": 1}, "priority": 0},
        "as_the_run": {"uses": N + "echo", "with": {"value": 1}},
    }
    with make_engine(tmp_path) as engine:
        handle = engine.start(nodes)
        queue = engine.session.runtime.default_queue
        waiting = {
            lane: engine.session.runtime.dispatcher.waiting(f"{queue}{lane}")
            for lane in (".high", "", ".low")
        }
        assert waiting == {".high": 1, "": 1, ".low": 1}
        engine.workers()
        assert handle.wait(60).success
