"""What a run on real Celery workers comes to."""

from pathlib import Path
from typing import Any

import pytest

from flowcore import Run
from flowcore.run.event import EventType
from flowcore.run.status import NodeState, RunState
from tests.engine import Engine

pytestmark = pytest.mark.both_brokers

DIAMOND = {
    "numbers": {"uses": "engine_nodes:numbers"},
    "total": {"uses": "engine_nodes:total", "needs": ["numbers"]},
    "largest": {"uses": "engine_nodes:largest", "needs": ["numbers"]},
    "report": {"uses": "engine_nodes:report", "needs": ["total", "largest"]},
}


def test_a_diamond_of_sync_and_async_functions_gives_its_output(engine: Engine) -> None:
    result = engine.run(DIAMOND, {"n": 10})
    assert result.success, result.error
    assert result.output == "total 45, largest 9"
    assert list(result.outputs) == ["numbers", "total", "largest", "report"]
    assert {node.attempts for node in result.nodes.values()} == {1}
    assert {node.state for node in result.nodes.values()} == {NodeState.SUCCEEDED}


def test_several_last_nodes_give_a_map_of_outputs(engine: Engine) -> None:
    nodes = {name: {"uses": "engine_nodes:echo", "with": {"value": name}} for name in "ab"}
    assert engine.run(nodes).output == {"a": "a", "b": "b"}


def test_expressions_in_with_read_inputs_and_outputs(engine: Engine) -> None:
    nodes = {
        "first": {"uses": "engine_nodes:echo", "with": {"value": "${{ inputs.n + 1 }}"}},
        "second": {
            "uses": "engine_nodes:echo",
            "needs": ["first"],
            "with": {
                "value": {"text": "got ${{ first.output }}", "list": ["${{ first.output * 2 }}"]}
            },
        },
    }
    result = engine.run(nodes, {"n": 4}, inputs={"n": {"type": "integer"}})
    assert result.output == {"text": "got 5", "list": [10]}


def test_a_node_knows_its_run_and_can_emit_events(engine: Engine) -> None:
    handle = engine.start({"facts": {"uses": "engine_nodes:facts"}}, {"n": 1}, run_id="facts-1")
    result = handle.wait(timeout=60)
    facts = result.output
    assert facts.pop("worker").startswith("test-0@")
    assert facts == {
        "run": "facts-1",
        "flow": "test",
        "node": "facts",
        "attempt": 1,
        "key": "facts-1.facts",
        "inputs": {"n": 1},
        "emitted": True,
    }
    emitted = [e for e in handle.events() if e.type is EventType.NODE_EMITTED]
    assert [e.data for e in emitted] == [{"kind": "progress", "done": 3, "of": 7}]


def test_the_event_log_is_gapless_and_ends_with_one_terminal_event(engine: Engine) -> None:
    handle = engine.start(DIAMOND)
    events = list(handle.events())
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert [event.type.is_terminal for event in events] == [False] * (len(events) - 1) + [True]
    resumed = list(handle.events(after=5))
    assert resumed == events[5:]


def test_the_same_id_twice_gives_the_same_run(engine: Engine, tmp_path: Path) -> None:
    nodes = {"once": {"uses": "engine_nodes:append", "with": {"path": str(tmp_path / "log")}}}
    first = engine.start(nodes, run_id="only-once")
    second = engine.start(nodes, run_id="only-once")
    assert first.wait(60).success
    assert second.wait(60).run_id == "only-once"
    assert (tmp_path / "log").read_text() == "once 1\n"


def test_an_edge_whose_condition_is_false_skips_the_path_behind_it(engine: Engine) -> None:
    echo = "engine_nodes:echo"
    nodes = {
        "ask": {"uses": echo, "with": {"value": 3}},
        "small": {"uses": echo, "with": {"value": "small"}},
        "big": {"uses": echo, "with": {"value": "big"}},
        "after": {"uses": echo, "with": {"value": "after big"}, "needs": ["big"]},
        "end": {"uses": echo, "with": {"value": "end"}, "needs": ["small", "after"]},
    }
    edges = [
        {"from": "ask", "to": "small", "when": "ask.output < 5"},
        {"from": "ask", "to": "big", "when": "ask.output >= 5"},
    ]
    result = engine.run(nodes, edges=edges)
    assert result.success, result.error
    assert {name for name, node in result.nodes.items() if node.state == "skipped"} == {
        "big",
        "after",
    }
    assert result.output == "end"


def test_a_failure_names_the_node_the_error_and_where_it_happened(engine: Engine) -> None:
    handle = engine.start({"bad": {"uses": "engine_nodes:fail", "with": {"message": "boom"}}})
    result = handle.wait(60)
    assert not result.success
    assert result.error == "node 'bad': ValueError: boom"
    error = result.nodes["bad"].error
    assert error is not None
    assert (error.type, error.message, error.node, error.attempt) == (
        "ValueError",
        "boom",
        "bad",
        1,
    )
    assert error.worker is not None
    assert error.worker.startswith("test-0@")
    assert error.traceback is not None
    assert "in fail" in error.traceback
    assert "flowcore/engine" not in error.traceback


def test_a_failure_stops_the_run_at_once(engine: Engine) -> None:
    nodes = {
        "bad": {"uses": "engine_nodes:fail"},
        "slow": {"uses": "engine_nodes:async_nap", "with": {"seconds": 50}},
        "never": {"uses": "engine_nodes:numbers", "needs": ["slow"]},
    }
    result = engine.run(nodes)
    assert result.state is RunState.FAILED
    assert result.nodes["slow"].state is NodeState.CANCELLED
    assert result.nodes["never"].state is NodeState.CANCELLED
    assert result.duration < 30


def test_without_fail_fast_the_other_branches_go_on(engine: Engine) -> None:
    nodes = {
        "bad": {"uses": "engine_nodes:fail"},
        "after_bad": {"uses": "engine_nodes:numbers", "needs": ["bad"]},
        "good": {"uses": "engine_nodes:numbers"},
        "after_good": {"uses": "engine_nodes:total", "needs": ["good"]},
    }
    result = engine.run(nodes, config={"execution": {"fail_fast": False}})
    assert result.state is RunState.FAILED
    states = {name: node.state.value for name, node in result.nodes.items()}
    assert states == {
        "bad": "failed",
        "after_bad": "skipped",
        "good": "succeeded",
        "after_good": "succeeded",
    }


def test_a_join_that_tolerates_failure_keeps_the_run_alive(engine: Engine) -> None:
    nodes = {
        "bad": {"uses": "engine_nodes:fail"},
        "good": {"uses": "engine_nodes:numbers"},
        "sum": {
            "uses": "engine_nodes:echo",
            "needs": ["bad", "good"],
            "join": "all_done",
            "with": {"value": "${{ bad.state + ' ' + good.state }}"},
        },
    }
    result = engine.run(nodes)
    assert result.success, result.error
    assert result.output == "failed succeeded"


def test_an_unknown_function_fails_the_node_with_a_way_out(engine: Engine) -> None:
    result = engine.run({"lost": {"uses": "engine_nodes:nowhere"}})
    assert result.error is not None
    assert "ResolveError" in result.error or "UnresolvedError" in result.error
    assert "nowhere" in result.error


def test_an_output_that_cannot_be_stored_says_where_it_is(engine: Engine) -> None:
    result = engine.run({"odd": {"uses": "engine_nodes:unsupported"}})
    assert result.error is not None
    assert "output of node 'odd'['rows'][1]: is a set" in result.error


def test_an_output_above_the_limit_names_the_node_and_the_size(engine: Engine) -> None:
    result = engine.run({"big": {"uses": "engine_nodes:large", "with": {"size": 70_000_000}}})
    assert result.error is not None
    assert "output of node 'big' is 70,000,005 bytes" in result.error


def test_an_event_above_the_limit_fails_its_node_and_is_not_kept(engine: Engine) -> None:
    nodes = {"chatty": {"uses": "engine_nodes:emit_much", "with": {"size": 70_000}}}
    handle = engine.start(nodes)
    result = handle.wait(60)
    assert result.error is not None
    assert "PayloadTooLargeError: an event of node 'chatty' is 70," in result.error
    assert EventType.NODE_EMITTED not in [event.type for event in handle.events()]
    nodes["chatty"]["with"] = {"size": 60_000}
    assert engine.run(nodes).output is True


def test_a_failure_with_a_message_of_a_megabyte_is_cut(engine: Engine) -> None:
    nodes = {"bad": {"uses": "engine_nodes:fail", "with": {"message": "x" * 1_000_000}}}
    handle = engine.start(nodes)
    result = handle.wait(60)
    assert result.error is not None
    assert "[… 990,000 characters cut …]" in result.error
    assert max(len(str(event.data)) for event in handle.events()) < 20_000


def test_runs_are_listed_newest_first_and_by_state(engine: Engine) -> None:
    good = engine.start(DIAMOND)
    bad = engine.start({"bad": {"uses": "engine_nodes:fail"}})
    good.wait(60)
    bad.wait(60)
    rows = Run.list(session=engine.session, limit=2)
    assert [row.id for row in rows] == [bad.id, good.id]
    failed = Run.list(state="failed", session=engine.session)
    assert bad.id in [row.id for row in failed]
    assert good.id not in [row.id for row in failed]


def test_twenty_runs_at_once_do_not_disturb_each_other(engine: Engine) -> None:
    handles = [engine.start(DIAMOND, {"n": n}) for n in range(1, 21)]
    for n, handle in enumerate(handles, start=1):
        assert handle.wait(60).output == f"total {n * (n - 1) // 2}, largest {n - 1}"


@pytest.mark.parametrize(
    ("function", "given", "how"),
    [
        ("leave", {"code": 3}, "called sys.exit(3)"),
        ("async_leave", {"code": 3}, "called sys.exit(3)"),
        ("interrupt", {}, "raised KeyboardInterrupt"),
        ("blow", {"kind": "BaseException"}, "raised BaseException"),
        ("blow", {"kind": "GeneratorExit"}, "raised GeneratorExit"),
        ("blow", {"kind": "CancelledError"}, "raised CancelledError"),
        ("async_blow", {"kind": "BaseException"}, "raised BaseException"),
        ("async_blow", {"kind": "GeneratorExit"}, "raised GeneratorExit"),
    ],
)
def test_a_function_that_would_end_its_worker_fails_its_node(
    engine: Engine, function: str, given: dict[str, Any], how: str
) -> None:
    nodes = {"exit": {"uses": f"engine_nodes:{function}", "with": given}}
    result = engine.run(nodes)
    assert result.error is not None
    assert result.error.startswith("node 'exit': NodeExitError")
    assert how in result.error
    assert result.nodes["exit"].attempts == 1
    failure = result.nodes["exit"].error
    assert failure is not None
    assert f"in {function}" in (failure.traceback or ""), "it shows where in the function"
    assert engine.run({"next": {"uses": "engine_nodes:async_nap", "with": {"seconds": 0}}}).success
