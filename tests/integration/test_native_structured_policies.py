"""Policies on nodes that start runs of their own, on real Celery workers."""

from pathlib import Path
from typing import Any

from flowcore import Run
from flowcore.run.event import EventType
from flowcore.run.status import NodeState, RunState
from tests.engine import Engine, poll

N = "structured_nodes:"


def _lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def _sub(*uses: str, **given: Any) -> dict[str, Any]:
    """A sub-flow of one node."""
    return {
        "uses": "workflow",
        "flow": {"nodes": {"in": {"uses": N + uses[0], "with": given}}},
        "with": {"value": 1},
    }


def _waiting(engine: Engine, run: Run, node: str) -> bool:
    found = engine.session.runtime.reader.record(run.id)
    return found is not None and found.nodes[node].state is NodeState.WAITING


def test_a_sub_flow_whose_output_is_known_is_not_run_again(engine: Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    nodes = {"s": {**_sub("busy", item=3, log=str(log)), "cache": {"ttl": "1h", "name": str(log)}}}
    first, second = engine.start(nodes), None
    assert first.wait(60).output == 3
    second = engine.start(nodes)
    assert second.wait(60).output == 3
    assert _lines(log) == ["+3", "-3"]
    assert EventType.NODE_CACHED in [event.type for event in second.events()]


def test_runs_that_want_the_same_sub_flow_at_once_run_it_once(
    engine: Engine, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    nodes = {"s": {**_sub("busy", item=3, log=str(log)), "cache": {"ttl": "1h", "name": str(log)}}}
    runs = [engine.start(nodes) for _ in range(4)]
    assert [run.wait(60).output for run in runs] == [3] * 4
    assert _lines(log) == ["+3", "-3"]


def test_a_cached_sub_flow_is_run_again_for_another_input(engine: Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    node = {
        "uses": "workflow",
        "flow": {"nodes": {"in": {"uses": N + "busy", "with": {"log": str(log)}}}},
        "with": {"item": "${{ inputs.n }}"},
        "cache": {"ttl": "1h", "name": str(log)},
    }
    assert [engine.run({"s": node}, {"n": n}).output for n in (1, 2, 1)] == [1, 2, 1]
    assert _lines(log) == ["+1", "-1", "+2", "-2"]


def test_no_more_sub_flows_are_under_way_than_their_limit_says(engine: Engine) -> None:
    """They hold their place while they wait, which takes no worker."""
    gate = {"uses": "wait", "with": {"for": "1h"}}
    node = {
        "uses": "workflow",
        "flow": {"nodes": {"gate": gate}},
        "concurrency": {"limit": 2, "name": "three"},
    }
    runs = [engine.start({"s": node}) for _ in range(3)]

    def inside() -> list[Run]:
        return [run for run in runs if Run.list(part_of=run.id, session=engine.session)]

    poll(lambda: len(inside()) == 2, what="two inside")
    [outside] = [run for run in runs if run not in inside()]
    poll(lambda: _waiting(engine, outside, "s"), what="the third one waits")
    # The one that is cancelled waits, and so nobody runs who could give its place back.
    inside()[0].cancel()
    poll(lambda: outside in inside(), what="the third one is inside")
    for run in runs:
        run.cancel()
    for run in runs:
        assert run.wait(60).state is RunState.CANCELLED


def test_a_sub_flow_that_has_ended_gives_its_place_to_the_next_one(
    engine: Engine, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    node = {**_sub("busy", item=1, log=str(log)), "concurrency": {"limit": 1, "name": str(log)}}
    runs = [engine.start({"s": node}) for _ in range(4)]
    assert [run.wait(60).output for run in runs] == [1] * 4
    assert _lines(log) == ["+1", "-1"] * 4


def test_a_sub_flow_that_keeps_failing_opens_the_circuit_before_it(engine: Engine) -> None:
    node = {
        **_sub("fail"),
        "circuit_breaker": {"failures": 2, "reset_after": "1h", "name": "of-a-sub-flow"},
    }
    errors = [engine.run({"s": node}).error or "" for _ in range(3)]
    assert "circuit breaker" not in errors[1]
    assert "the circuit breaker of-a-sub-flow is open" in errors[2]


def test_sub_flows_begin_no_faster_than_their_rate(engine: Engine) -> None:
    node = {**_sub("echo"), "rate_limit": {"limit": 1, "per": "400ms", "name": "of-a-sub-flow"}}
    runs = [engine.start({"s": node}) for _ in range(3)]
    for run in runs:
        assert run.wait(60).success
    inner = [Run.get(f"{run.id}/s", session=engine.session) for run in runs]
    begun = sorted(run.summary().created for run in inner)
    assert begun[-1] - begun[0] >= 0.7


def test_branches_that_fail_are_tried_again_together_and_then_there_is_a_fallback(
    engine: Engine, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    branches = {
        "good": {"uses": N + "busy", "with": {"item": 1, "log": str(log)}},
        "bad": {"uses": N + "fail"},
    }
    node = {
        "uses": "parallel",
        "branches": branches,
        "retry": {"max_attempts": 2, "delay": 0},
        "fallback": {"value": "instead"},
    }
    handle = engine.start({"p": node})
    result = handle.wait(60)
    assert (result.output, result.nodes["p"].attempts) == ("instead", 2)
    inner = Run.get(f"{handle.id}/p", session=engine.session)
    assert inner.record().nodes["bad"].attempts == 2
    assert _lines(log) == ["+1", "-1"], "what has succeeded is kept"


def test_a_sub_flow_is_tried_again_after_errors_named_by_a_class_they_derive_from(
    engine: Engine, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    retry = {"max_attempts": 2, "delay": 0, "retry_on": ["OSError"]}
    node = {**_sub("refuse_connection", log=str(log)), "retry": retry}
    assert "ConnectionRefusedError" in (engine.run({"s": node}).error or "")
    assert _lines(log) == ["tried", "tried"]


def test_a_node_that_waits_takes_its_rate_once(engine: Engine) -> None:
    limit = {"limit": 2, "per": "1h", "name": "of-waits"}
    node = {"uses": "wait", "with": {"for": "10ms"}, "rate_limit": limit}
    assert engine.run({"a": node, "b": node}).success


def test_branches_that_take_too_long_together_fail(engine: Engine) -> None:
    branches = {"slow": {"uses": "wait", "with": {"for": "1h"}}}
    result = engine.run({"p": {"uses": "parallel", "branches": branches, "timeout": "300ms"}})
    said = "its run took longer than the node's timeout, 300 ms"
    assert result.error == f"node 'p': NodeTimeoutError: {said}"
