"""Retries, time limits, parallelism, cancelling: on real Celery workers."""

from pathlib import Path
from typing import Any

import pytest

from flowcore import Flow
from flowcore.client.flow import start_run
from flowcore.errors import UsageError
from flowcore.run.event import Event, EventType
from flowcore.run.status import NodeState, RunState
from tests.engine import Engine, poll


@pytest.mark.both_brokers
def test_a_retry_succeeds_and_its_attempts_are_counted(engine: Engine) -> None:
    retry = {"max_attempts": 3, "delay": "20ms", "jitter": False}
    nodes = {"shy": {"uses": "engine_nodes:fail_until", "with": {"attempt": 3}, "retry": retry}}
    handle = engine.start(nodes)
    result = handle.wait(60)
    assert result.success, result.error
    assert result.output == 3
    assert result.nodes["shy"].attempts == 3
    retries = [e for e in handle.events() if e.type is EventType.NODE_RETRYING]
    assert [e.data["delay"] for e in retries] == [0.02, 0.04]
    assert retries[0].data["error"] == {"type": "ConnectionError", "message": "attempt 1 fails"}


def test_an_exhausted_retry_fails_with_the_last_error(engine: Engine) -> None:
    retry = {"max_attempts": 2, "delay": 0}
    nodes = {"bad": {"uses": "engine_nodes:fail_until", "with": {"attempt": 9}, "retry": retry}}
    result = engine.run(nodes)
    assert result.error == "node 'bad': ConnectionError: attempt 2 fails"
    assert result.nodes["bad"].attempts == 2


@pytest.mark.parametrize(("name", "attempts"), [("OSError", 2), ("ValueError", 1)])
def test_only_errors_named_in_retry_on_are_tried_again(
    engine: Engine, name: str, attempts: int
) -> None:
    retry = {"max_attempts": 2, "delay": 0, "retry_on": [name]}
    nodes = {"bad": {"uses": "engine_nodes:fail_until", "with": {"attempt": 9}, "retry": retry}}
    assert engine.run(nodes).nodes["bad"].attempts == attempts


def test_retry_failed_nodes_retries_nodes_without_a_policy_of_their_own(engine: Engine) -> None:
    nodes = {"shy": {"uses": "engine_nodes:fail_until", "with": {"attempt": 2}}}
    result = engine.run(nodes, config={"execution": {"retry_failed_nodes": True}})
    assert result.success, result.error
    assert result.nodes["shy"].attempts == 2


@pytest.mark.parametrize("function", ["nap", "spin", "async_nap"])
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_node_that_takes_too_long_fails(
    engine: Engine, threaded: Engine, pool: str, function: str
) -> None:
    engine = {"prefork": engine, "threads": threaded}[pool]
    nodes = {
        "slow": {"uses": f"engine_nodes:{function}", "with": {"seconds": 8}, "timeout": "300ms"}
    }
    result = engine.run(nodes)
    assert result.error == "node 'slow': NodeTimeoutError: timed out after 300 ms"
    assert result.duration < 7


def test_a_timeout_can_be_retried(engine: Engine) -> None:
    nodes = {
        "slow": {
            "uses": "engine_nodes:nap",
            "with": {"seconds": 5},
            "timeout": "100ms",
            "retry": {"max_attempts": 2, "delay": 0, "retry_on": ["NodeTimeoutError"]},
        }
    }
    assert engine.run(nodes).nodes["slow"].attempts == 2


@pytest.mark.both_brokers
def test_a_run_past_its_deadline_fails(engine: Engine) -> None:
    nodes: dict[str, Any] = {
        "slow": {"uses": "engine_nodes:async_nap", "with": {"seconds": 50}},
        "never": {"uses": "engine_nodes:numbers", "needs": ["slow"]},
    }
    result = engine.run(nodes, config={"execution": {"timeout_seconds": 0.5}})
    assert result.state is RunState.FAILED
    assert result.error is not None
    assert result.error.startswith("RunTimeoutError")
    assert {node.state.value for node in result.nodes.values()} == {"cancelled"}


def test_max_parallel_is_reached_but_never_exceeded(threaded: Engine) -> None:
    nodes = {f"n{i}": {"uses": "engine_nodes:nap", "with": {"seconds": 0.05}} for i in range(12)}
    handle = threaded.start(nodes, config={"execution": {"max_parallel_nodes": 2}})
    assert handle.wait(60).success
    assert _most_at_once(list(handle.events())) == 2


def _most_at_once(events: list[Event]) -> int:
    running = most = 0
    for event in events:
        running += event.type is EventType.NODE_STARTED
        running -= event.type is EventType.NODE_SUCCEEDED
        most = max(most, running)
    return most


@pytest.mark.both_brokers
@pytest.mark.parametrize("function", ["wait_for", "async_nap"])
def test_a_cancelled_run_stops_its_nodes(engine: Engine, tmp_path: Path, function: str) -> None:
    given: dict[str, Any] = {"path": str(tmp_path / "never"), "seconds": 50}
    if function == "async_nap":
        del given["path"]
    nodes = {
        "hold": {"uses": f"engine_nodes:{function}", "with": given},
        "never": {"uses": "engine_nodes:numbers", "needs": ["hold"]},
    }
    handle = engine.start(nodes)
    poll(lambda: handle.record().nodes["hold"].state is NodeState.RUNNING, what="the node to run")
    assert handle.cancel("no longer needed") is RunState.STOPPING
    result = handle.wait(60)
    assert result.state is RunState.CANCELLED
    assert {node.state.value for node in result.nodes.values()} == {"cancelled"}
    assert result.duration < 40
    assert handle.cancel() is RunState.CANCELLED
    assert engine.run({"next": {"uses": "engine_nodes:numbers"}}).success


@pytest.mark.both_brokers
def test_a_node_on_its_own_queue_waits_for_a_worker_of_that_queue(engine: Engine) -> None:
    nodes = {"there": {"uses": "engine_nodes:facts", "queue": "gpu"}}
    handle = engine.start(nodes)
    workers = engine.workers(queues="gpu", slots=1)
    result = handle.wait(60)
    workers.stop()
    assert result.success, result.error
    assert result.nodes["there"].worker == result.output["worker"]


def test_urgent_runs_go_first_and_patient_ones_last(engine: Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    flow = Flow.load(
        {
            "id": "lanes",
            "nodes": {
                "only": {
                    "uses": "engine_nodes:note",
                    "with": {"path": str(log), "text": "${{ inputs.text }}"},
                    "queue": "lanes",
                }
            },
        }
    )
    plan = flow.plan()
    for text, priority in [("low", 1), ("normal", 5), ("high", 9)]:
        start_run(engine.session, plan, {"text": text}, priority=priority)
    last = start_run(engine.session, plan, {"text": "last"}, priority=0)
    workers = engine.workers(queues="lanes", slots=1)
    last.wait(60)
    workers.stop()
    assert log.read_text().split() == ["high", "normal", "low", "last"]


@pytest.mark.parametrize("priority", [-1, 10, True, 2.5])
def test_a_priority_outside_its_range_is_refused(engine: Engine, priority: Any) -> None:
    plan = Flow.load({"nodes": {"a": {"uses": "start"}}}).plan()
    with pytest.raises(UsageError, match="a priority is a whole number from 0 to 9"):
        start_run(engine.session, plan, priority=priority)
