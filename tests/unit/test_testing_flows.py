"""The runner for tests of flows: on the real engine, in virtual time, with faults on demand."""

from pathlib import Path
from typing import Any

import pytest

from flowcore import Context, Flow, node
from flowcore.errors import RunNotFoundError, UsageError
from flowcore.run.event import EventType
from flowcore.run.status import NodeState, RunState
from flowcore.testing import Flows

N = "flowcore.testing.nodes:"


def _linear(**more: Any) -> dict[str, Any]:
    return {
        "nodes": {
            "a": {"uses": N + "add", "with": {"upstream": 1}, **more},
            "b": {"uses": N + "add", "needs": ["a"]},
        }
    }


@node
def greet(name: str) -> str:
    return f"hello {name}"


@node
async def shout(greet: str, ctx: Context) -> str:
    ctx.emit("shouting", what=greet)
    return greet.upper()


def test_a_flow_runs_to_its_end_in_this_process(flows: Flows) -> None:
    with Flow("talk") as flow:
        greet >> shout
    result = flows.run(flow, {"name": "you"})
    assert (result.success, result.output) == (True, "HELLO YOU")
    assert result.outputs["greet"] == "hello you"
    assert flows.calls("greet") == 1


def test_a_node_fails_as_often_as_it_is_told_to(flows: Flows) -> None:
    flow = _linear(retry={"max_attempts": 3, "delay": "1h", "max_delay": "1h", "jitter": False})
    before = flows.now
    flows.fail("a", ConnectionError("down"), times=2)
    result = flows.run(flow)
    assert (result.output, flows.calls("a")) == (3, 3)
    assert result.nodes["a"].attempts == 3
    assert flows.now - before == 7200
    flows.fail("a", times=3)
    result = flows.run(flow)
    assert result.error == "node 'a': RuntimeError: a was told to fail"


def test_a_fault_of_a_node_that_there_is_not_is_refused() -> None:
    flows = Flows()
    flows.fail("bb")
    flows.run(_linear())
    with pytest.raises(UsageError, match=r"fail.'bb'.: there is no such node .*; did you mean 'b'"):
        flows.check()
    flows = Flows()
    flows.stub("nosuch", 1)
    flows.run(_linear())
    with pytest.raises(UsageError, match=r"stub.'nosuch'.: there is no such node"):
        flows.check()
    flows = Flows()
    flows.fail("b", times=0)
    flows.run(_linear())
    flows.check()


def test_a_node_gives_what_it_is_told_to(flows: Flows) -> None:
    flows.stub("a", 41)
    assert flows.run(_linear()).output == 42
    flows.stub("a", calls=lambda upstream, **_: upstream * 100)
    assert flows.run(_linear()).output == 101


def test_a_week_passes_in_no_time_and_nothing_falls_due_too_early(flows: Flows) -> None:
    flow = {"nodes": {"w": {"uses": "wait", "with": {"for": "7d"}}}}
    run = flows.start(flow)
    flows.advance("6d")
    assert run.record.nodes["w"].state is NodeState.WAITING
    flows.advance("1d")
    assert run.state is RunState.SUCCEEDED


def test_what_waits_for_somebody_says_so_and_goes_on_with_a_signal(flows: Flows) -> None:
    flow = {
        "nodes": {
            "ask": {"uses": "approval", "with": {"message": "the boss"}},
            "then": {"uses": N + "seen", "needs": ["ask"]},
        }
    }
    with pytest.raises(UsageError, match="waits: ask waits for the boss; use start"):
        flows.run(flow)
    run = flows.start(flow)
    run.approve("ask", by="me")
    assert run.result().output == {"approved": True, "by": "me"}
    again = flows.start(flow)
    again.reject("ask", comment="no")
    assert again.state is RunState.FAILED


def test_a_message_that_comes_twice_has_a_node_run_once() -> None:
    flows = Flows(duplicate=True)
    flow = {"nodes": {"m": {"uses": N + "add", "for_each": list(range(5))}}}
    assert flows.run(flow).output == [1, 2, 3, 4, 5]
    assert flows.calls("m") == 5


def test_one_item_of_a_map_fails(flows: Flows) -> None:
    flow = {"nodes": {"m": {"uses": N + "add", "for_each": [1, 2, 3], "tolerated_failures": 1}}}
    flows.fail("m[1]")
    assert flows.run(flow).output == [2, None, 4]


def test_loops_sub_flows_deployed_flows_and_ends_run_too(flows: Flows) -> None:
    flows.deploy({"id": "inner", "nodes": {"x": {"uses": N + "add", "with": {"by": 5}}}})
    flow = {
        "nodes": {
            "l": {"uses": N + "add", "initial": 0, "until": "output >= 12"},
            "s": {"uses": "workflow", "needs": ["l"], "flow": "inner"},
            "f": {"uses": N + "add", "needs": ["s"], "undo": {"uses": N + "seen"}},
            "g": {"uses": N + "fail", "needs": ["f"]},
        },
        "finally": {"last": {"uses": N + "seen", "with": {"upstream": "${{ run.state }}"}}},
    }
    run = flows.start(flow)
    flows.run_out()
    assert (run.output("l"), run.output("s")) == (12, 17)
    ended = flows.record(f"{run.id}/finally")
    assert list(ended.nodes) == ["undo f", "last"]
    assert run.state is RunState.FAILED


def test_a_celery_task_is_what_the_test_says(flows: Flows) -> None:
    flow = {"nodes": {"t": {"uses": "celery:shop.add", "with": {"x": 1, "y": 2}}}}
    assert "no test has said what the Celery task shop.add does" in str(flows.run(flow).error)
    flows.task("shop.add", lambda x, y: x + y)
    assert flows.run(flow).output == 3
    flows.task("shop.add", lambda x, y: x / 0)
    assert "ZeroDivisionError" in str(flows.run(flow).error)


def test_a_run_is_stopped_and_its_events_are_read(flows: Flows) -> None:
    run = flows.start({"nodes": {"w": {"uses": "wait", "with": {"for": "1h"}}}}, id="mine")
    run.cancel()
    assert run.state is RunState.CANCELLED
    assert [event.type for event in run.events][-1] is EventType.RUN_CANCELLED
    with pytest.raises(RunNotFoundError):
        flows.record("other")
    with pytest.raises(UsageError, match="no node waits for a signal any more"):
        run.signal("go")


def test_the_plugin_gives_its_fixtures_to_a_suite_of_somebody_else(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        def test_mine(flows):
            flow = {"nodes": {"a": {"uses": "passthrough", "with": {"x": "${{ inputs.x + 1 }}"}}}}
            assert flows.run(flow, {"x": 1}).output == {"x": 2}
        """
    )
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)


def test_a_definition_is_read_from_a_file(flows: Flows, tmp_path: Path) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text("nodes: {a: {uses: passthrough, with: {x: '${{ 1 + 1 }}'}}}")
    assert flows.run(file).output == {"x": 2}
