"""Fallbacks, circuit breakers, bulkheads and caches, on real Celery workers."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowcore.cli.main import main
from flowcore.client.run import Run
from flowcore.run.event import EventType
from flowcore.run.status import NodeState
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


def test_a_chain_of_fallbacks_is_tried_in_order(engine: Engine) -> None:
    chain = [{"uses": "engine_nodes:fail"}, {"uses": "engine_nodes:guess"}, {"value": "no"}]
    handle = engine.start({"price": {**BAD, "fallback": chain}})
    assert handle.wait(60).output == "ConnectionError in spite of 9"
    [said] = [event for event in handle.events() if event.type is EventType.NODE_FALLBACK]
    assert said.data["uses"] == "engine_nodes:guess"


def test_a_chain_without_a_way_out_fails_with_what_each_of_it_met(engine: Engine) -> None:
    result = engine.run({"price": {**BAD, "fallback": {"uses": "engine_nodes:fail"}}})
    failure = result.nodes["price"].error
    assert failure is not None
    assert failure.type == "ConnectionError"
    assert failure.message == (
        "attempt 1 fails (its fallbacks failed, too: engine_nodes:fail raised ValueError: no luck)"
    )


def test_a_condition_that_fails_does_not_replace_a_good_output(engine: Engine) -> None:
    handle = engine.start(
        {
            "price": {"uses": "engine_nodes:echo", "with": {"value": 1}, "fallback": {"value": 2}},
            "show": {"uses": "engine_nodes:echo"},
        },
        edges=[{"from": "price", "to": "show", "when": "price.output.nothing > 3"}],
    )
    result = handle.wait(60)
    assert result.nodes["price"].state is NodeState.FAILED
    assert EventType.NODE_FALLBACK not in [event.type for event in handle.events()]


def _calls(log: Path) -> int:
    return len(log.read_text()) if log.exists() else 0


def _breaker(down: Path, log: Path, **more: Any) -> dict[str, Any]:
    return {
        "uses": "engine_nodes:fail_while",
        "with": {"path": str(down), "log": str(log)},
        "circuit_breaker": {"failures": 2, "reset_after": "300ms", **more},
    }


def test_a_circuit_opens_for_all_runs_and_closes_when_what_it_protects_is_back(
    engine: Engine, tmp_path: Path
) -> None:
    down, log = tmp_path / "down", tmp_path / "log"
    down.touch()
    node = _breaker(down, log, name=str(tmp_path))
    for _ in range(2):
        assert not engine.run({"call": node}).success
    refused = engine.run({"call": node})
    while refused.nodes["call"].error.type != "CircuitOpenError":  # type: ignore[union-attr]
        refused = engine.run({"call": node})  # the machine was slow: it was half open already
    assert "is open for" in refused.nodes["call"].error.message  # type: ignore[union-attr]
    calls = _calls(log)
    assert not engine.run({"call": node}).success or calls < _calls(log)
    down.unlink()
    ends = time.monotonic() + 30
    while not (handle := engine.start({"call": node})).wait(60).success:
        assert time.monotonic() < ends
    said = [event.data for event in handle.events() if event.type is EventType.NODE_CIRCUIT]
    assert said == [{"name": str(tmp_path), "state": "closed"}]
    assert all(engine.run({"call": node}).success for _ in range(3))


def test_a_retry_outlasts_an_open_circuit_and_a_fallback_stands_in_for_it(
    engine: Engine, tmp_path: Path
) -> None:
    down, log = tmp_path / "down", tmp_path / "log"
    down.touch()
    node = _breaker(down, log, name=str(tmp_path), failures=1, reset_after="1h")
    assert not engine.run({"call": node}).success
    found = engine.run({"call": {**node, "fallback": {"value": "meanwhile"}}})
    assert (found.output, _calls(log)) == ("meanwhile", 1)
    again = {**node, "retry": {"max_attempts": 30, "delay": "50ms", "backoff": "fixed"}}
    again["circuit_breaker"] = {"failures": 1, "reset_after": "200ms", "name": f"{tmp_path}.short"}
    handle = engine.start({"call": again})
    _until(lambda: _calls(log) >= 2)
    down.unlink()
    assert handle.wait(60).success


def test_errors_that_do_not_count_leave_a_circuit_closed(engine: Engine, tmp_path: Path) -> None:
    down, log = tmp_path / "down", tmp_path / "log"
    down.touch()
    node = _breaker(down, log, name=str(tmp_path), failures=1, count=["KeyError"])
    for _ in range(3):
        assert engine.run({"call": node}).nodes["call"].error.type == "ConnectionError"  # type: ignore[union-attr]
    assert _calls(log) == 3


def test_a_full_bulkhead_refuses_at_once_or_after_its_wait(engine: Engine, tmp_path: Path) -> None:
    go, log = tmp_path / "go", tmp_path / "log"
    inside = {"uses": "engine_nodes:count_after", "with": {"path": str(go), "log": str(log)}}
    limit = {"limit": 1, "name": str(tmp_path)}
    first = engine.start({"one": {**inside, "concurrency": limit}})
    _until(lambda: _calls(log) == 1)
    for patience in ("0s", "200ms"):
        node = {**inside, "concurrency": {**limit, "max_wait": patience}}
        failure = engine.run({"two": node}).nodes["two"].error
        assert failure is not None
        assert failure.type == "BulkheadFullError"
        assert "all 1 places" in failure.message
    go.touch()
    assert first.wait(60).success
    assert _calls(log) == 1


def _until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.01)


def _cached(tmp_path: Path, of: str, **cache: Any) -> dict[str, Any]:
    return {
        "uses": "engine_nodes:count_after",
        "with": {"path": str(tmp_path / "go"), "log": str(tmp_path / f"log{of}"), "of": of},
        "cache": {"ttl": "1h", "name": str(tmp_path), **cache},
    }


def test_an_output_is_worked_out_once_for_all_who_ask_at_once(
    engine: Engine, tmp_path: Path
) -> None:
    handles = [engine.start({"call": _cached(tmp_path, "a")}) for _ in range(6)]
    log = engine.session.runtime.events
    _until(
        lambda: any(
            event.type is EventType.NODE_WAITING
            for handle in handles
            for event in log.read(handle.id)
        )
    )
    (tmp_path / "go").touch()
    assert [handle.wait(60).output for handle in handles] == [1] * 6
    assert _calls(tmp_path / "loga") == 1
    cached = [_types(handle).count(EventType.NODE_CACHED) for handle in handles]
    assert sorted(cached) == [0, 1, 1, 1, 1, 1]
    assert engine.run({"call": _cached(tmp_path, "b")}).output == 1, "other arguments, other output"
    assert _calls(tmp_path / "logb") == 1


def _types(handle: Run) -> list[str]:
    return [event.type for event in handle.events()]


def test_a_shell_is_shown_what_the_policies_did(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "go").touch()
    node = _cached(tmp_path, "a")
    assert engine.run({"a": node}).success
    bad = {**BAD, "circuit_breaker": {"failures": 1, "name": str(tmp_path)}}
    run = engine.start({"a": node, "b": {**bad, "fallback": {"value": 1}, "needs": ["a"]}})
    run.wait(60)
    monkeypatch.setenv("FLOWCORE_REDIS_URL", engine.session.runtime.redis_url)
    monkeypatch.setenv("FLOWCORE_HOME", str(engine.home))
    assert main(["logs", run.id]) == 0
    lines = [line.split(" ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "a CACHED",
        "b FALLBACK after ConnectionError: attempt 1 fails",
        f"b CIRCUIT {tmp_path} is open",
    ]


def test_a_cache_goes_by_its_key_and_ends(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    by_key = [_cached(tmp_path, of, key="${{ inputs.user }}") for of in ("a", "b")]
    assert engine.run({"call": by_key[0]}, input={"user": 1}).success
    assert engine.run({"call": by_key[1]}, input={"user": 1}).success
    assert not (tmp_path / "logb").exists()
    assert engine.run({"call": by_key[1]}, input={"user": 2}).success
    assert _calls(tmp_path / "logb") == 1
    short = _cached(tmp_path, "c", ttl="50ms")
    assert engine.run({"call": short}).success
    _until(lambda: engine.run({"call": short}).output == 2)


def test_failures_and_fallbacks_are_not_cached(engine: Engine, tmp_path: Path) -> None:
    down, log = tmp_path / "down", tmp_path / "log"
    down.touch()
    node = {
        "uses": "engine_nodes:fail_while",
        "with": {"path": str(down), "log": str(log)},
        "cache": {"ttl": "1h", "name": str(tmp_path)},
    }
    assert not engine.run({"call": node}).success
    assert engine.run({"call": {**node, "fallback": {"value": "old"}}}).output == "old"
    down.unlink()
    assert engine.run({"call": node}).output == 3
    assert engine.run({"call": node}).output == 3, "now it is"


def test_a_cached_output_still_has_the_conditions_on_it_worked_out(
    engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "go").touch()
    nodes = {"call": _cached(tmp_path, "a"), "show": {"uses": "engine_nodes:echo"}}
    edges = [{"from": "call", "to": "show", "when": "call.output > 1"}]
    for _ in range(2):
        result = engine.run(nodes, edges=edges)
        assert result.nodes["show"].state is NodeState.SKIPPED


def test_arguments_that_are_no_plain_data_need_a_key(engine: Engine) -> None:
    result = engine.run(
        {
            "odd": {
                "uses": "engine_nodes:echo",
                "with": {"value": "${{ inputs.user }}"},
                "cache": {"ttl": 5, "key": "${{ inputs.nothing.more }}"},
            }
        },
        input={"user": 1},
    )
    failure = result.nodes["odd"].error
    assert failure is not None
    assert failure.type == "ExpressionError"
