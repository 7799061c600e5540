"""What can be done to a run on workers can be done to one in a test; and it tells how it failed."""

from typing import Any

import pytest

from flowcore.errors import RunNotFoundError, RunStateError, UsageError
from flowcore.run.status import NodeState, RunState
from flowcore.testing import Flows

N = "flowcore.testing.nodes:"
APPROVAL: dict[str, Any] = {"uses": "approval", "with": {"message": "?"}}
ITEMS = {"nodes": {"m": {**APPROVAL, "for_each": [1, 2]}}}
DEEP = {
    "nodes": {
        "m": {
            "uses": "workflow",
            "for_each": [1, 2],
            "flow": {"id": "i", "nodes": {"ask": APPROVAL}},
        },
        "both": {"uses": "parallel", "branches": {"left": APPROVAL}},
    }
}


@pytest.mark.parametrize("way", ["m/m[{}]", "m[{}]", "m/{}"])
def test_items_that_ask_are_answered_by_their_names(flows: Flows, way: str) -> None:
    run = flows.start(ITEMS)
    assert run.approve(way.format(0), by="me")
    assert run.state.value == "running"
    with pytest.raises(UsageError, match=r"the answer comes too late; .* are: m/m\[1\]"):
        run.approve(way.format(0))
    run.reject(way.format(1), comment="no")
    assert run.state is RunState.FAILED
    for wrong in (way.format(7), "x", "m/x", "m"):
        with pytest.raises(UsageError, match="asks for no approval"):
            flows.start(ITEMS).approve(wrong)


def test_nodes_inside_sub_flows_and_branches_are_answered(flows: Flows) -> None:
    run = flows.start(DEEP)
    with pytest.raises(UsageError, match="those that wait are: both/left, m/0/ask, m/1/ask"):
        run.approve()
    run.approve("m/1/ask")
    run.approve("m[0]/ask")
    assert run.approve() == "both/left"
    assert run.state is RunState.SUCCEEDED
    assert run.inside("m/1").output("ask") == {"approved": True}
    assert [child.id for child in run.children()] == [f"{run.id}/both", f"{run.id}/m"]
    with pytest.raises(RunNotFoundError):
        run.inside("m/9")


def test_signals_that_nobody_waits_for_are_refused_with_the_nearest_name(flows: Flows) -> None:
    flow = {"nodes": {"s": {"uses": "signal", "with": {"name": "paid"}}}}
    run = flows.start(flow)
    with pytest.raises(UsageError, match="did you mean 'paid'"):
        run.signal("payd")
    run.signal("paid", amount=3)
    assert run.state is RunState.SUCCEEDED


def test_a_run_is_paused_resumed_cancelled_and_resumed(flows: Flows) -> None:
    flow = {
        "nodes": {
            "w": {"uses": "wait", "with": {"for": "1h"}},
            "a": {"uses": N + "add", "needs": ["w"]},
        }
    }
    run = flows.start(flow)
    assert run.pause() is RunState.PAUSED
    flows.advance("2h")
    assert run.record.nodes["a"].state is not NodeState.SUCCEEDED
    assert run.resume() is RunState.SUCCEEDED
    with pytest.raises(RunStateError, match="has succeeded"):
        run.resume()
    with pytest.raises(RunStateError, match="nothing to pause"):
        run.pause()
    other = flows.start(flow)
    assert other.cancel("no longer") is RunState.CANCELLED
    assert other.result().error == "the run was cancelled"
    other.resume()
    flows.run_out()
    assert other.state is RunState.SUCCEEDED


def test_a_failed_run_goes_on_where_it_failed(flows: Flows) -> None:
    flow = {
        "nodes": {
            "a": {"uses": N + "add", "with": {"upstream": 1}},
            "b": {"uses": N + "add", "needs": ["a"]},
        }
    }
    flows.fail("b")
    run = flows.start(flow)
    assert (run.state, flows.calls("a"), flows.calls("b")) == (RunState.FAILED, 1, 1)
    assert run.resume() is RunState.SUCCEEDED
    assert (run.output("b"), flows.calls("a"), flows.calls("b")) == (3, 1, 2)


def test_a_run_is_run_again_whole_from_a_node_and_with_another_input(flows: Flows) -> None:
    flow = {
        "nodes": {
            "a": {"uses": N + "inputs"},
            "b": {"uses": N + "inputs", "needs": ["a"]},
        }
    }
    first = flows.start(flow, {"x": 1, "y": 1})
    second = first.rerun("b", {"x": 2}, id="again")
    assert (second.id, second.output("a"), second.output("b")) == (
        "again",
        {"x": 1, "y": 1},
        {"x": 2, "y": 1},
    )
    third = second.rerun()
    assert third.output("a") == {"x": 2, "y": 1}
    assert flows.calls("a") == 2
    with pytest.raises(UsageError, match="did you mean 'b'"):
        first.rerun("bb")
    failed = {"nodes": {"m": {"uses": N + "fail", "for_each": [1, 2]}}}
    run = flows.start(failed)
    flows.stub("m", calls=lambda item: item)
    assert run.resume() is RunState.SUCCEEDED
    assert run.output("m") == [1, 2]
    with pytest.raises(RunStateError, match="is part of run"):
        run.inside("m").resume()


def test_an_id_is_that_of_one_run(flows: Flows) -> None:
    flow = {"id": "mine", "nodes": {"a": {"uses": N + "inputs"}}}
    first = flows.start(flow, {"x": 1}, id="order-1", tags=["eu"])
    again = flows.start(flow, {"x": 2}, id="order-1")
    assert (again.output("a"), flows.calls("a"), first.record.tags) == ({"x": 1}, 1, ("eu",))
    with pytest.raises(UsageError, match="exists already, of flow 'mine'"):
        flows.start({"id": "other", "nodes": flow["nodes"]}, id="order-1")
    with pytest.raises(UsageError, match="a run id is 1 to 120"):
        flows.start(flow, id="no good")
    assert flows.get("order-1").output("a") == {"x": 1}
    with pytest.raises(RunNotFoundError):
        flows.get("nosuch")


def test_callbacks_hear_of_each_event_in_order(flows: Flows) -> None:
    class Heard:
        def __init__(self) -> None:
            self.kinds: list[str] = []

        def on_event(self, event: Any) -> None:
            self.kinds.append(event.type.value)

        async def on_node_end(self, event: Any) -> None:
            self.kinds.append(f"end of {event.node}")

    heard = Heard()
    flow = {"nodes": {"a": {"uses": N + "add"}}}
    result = flows.run(flow, callbacks=[heard])
    plain = [kind for kind in heard.kinds if not kind.startswith("end")]
    assert plain == [event.type.value for event in flows.events(result.run_id)]
    assert "end of a" in heard.kinds
    with pytest.raises(UsageError, match="none of the methods of callbacks"):
        flows.run(flow, callbacks=[object()])


# ── time ────────────────────────────────────────────────────────────────────────────────────────


def test_a_node_takes_its_time_and_is_timed_out_when_that_is_too_much(flows: Flows) -> None:
    flow = {"nodes": {"a": {"uses": N + "add", "timeout": "30s"}}}
    before = flows.now
    flows.delay("a", "29s")
    assert flows.run(flow).success
    assert flows.now - before == 29
    flows.delay("a", "45s")
    result = flows.run(flow)
    assert result.error == "node 'a': NodeTimeoutError: timed out after 30.00 s"
    assert flows.now - before == 59
    again = {"nodes": {"a": {**flow["nodes"]["a"], "retry": {"max_attempts": 2, "delay": 1}}}}
    assert flows.run(again).nodes["a"].attempts == 2


@pytest.mark.parametrize("time", ["3h 10m", -1, "soon", None])
def test_what_is_no_time_is_refused(flows: Flows, time: Any) -> None:
    for say in (flows.advance, lambda by: flows.delay("a", by), lambda by: flows.run_out(most=by)):
        with pytest.raises(UsageError, match="a time to pass"):
            say(time)


def test_deadlines_caches_limits_and_circuits_count_on_the_time_of_the_test(flows: Flows) -> None:
    late = {
        "nodes": {
            "a": {"uses": N + "add"},
            "b": {"uses": N + "add", "needs": ["a"]},
        },
        "config": {"execution": {"timeout_seconds": 60}},
    }
    flows.delay("a", "2m")
    assert "RunTimeoutError" in str(flows.run(late).error)
    assert flows.calls("b") == 0

    cached = {"nodes": {"c": {"uses": N + "add", "with": {"upstream": 1}, "cache": "1h"}}}
    for wait, calls in (("0s", 1), ("59m", 1), ("2m", 2)):
        flows.advance(wait)
        assert flows.run(cached).output == 2
        assert flows.calls("c") == calls

    before = flows.now
    rate = {"limit": 1, "per": "1h", "name": "r"}
    limited = {"nodes": {f"r{at}": {"uses": N + "add", "rate_limit": rate} for at in range(3)}}
    assert flows.run(limited).success
    assert flows.now - before == 7200

    circuit = {"failures": 1, "reset_after": "1h", "name": "k"}
    broken = {"nodes": {"k": {"uses": N + "add", "circuit_breaker": circuit}}}
    flows.fail("k")
    assert "RuntimeError" in str(flows.run(broken).error)
    assert "CircuitOpenError" in str(flows.run(broken).error)
    flows.advance("61m")
    assert flows.run(broken).success


# ── what a failure looks like ───────────────────────────────────────────────────────────────────


def test_the_report_tells_states_waits_and_tracebacks_of_what_has_not_succeeded(
    flows: Flows,
) -> None:
    flows.run({"id": "fine", "nodes": {"a": {"uses": N + "add"}}})
    assert flows.report() == ""
    retry = {"retry": {"max_attempts": 2, "delay": 0}}
    flows.run({"id": "bad", "nodes": {"m": {"uses": N + "fail", "for_each": [1], **retry}}}, id="b")
    flows.start({"id": "waits", "nodes": {"ask": APPROVAL}}, id="w")
    told = flows.report()
    assert told.startswith("run b of flow bad: failed\n")
    assert "fine" not in told
    assert "  m/m[0]  failed     2 attempts; ValueError: as it must\n" in told
    assert "raise ValueError(message)" in told
    assert "\n\nrun w of flow waits: running\n  ask  waiting    waits for ?" in told


def test_a_failed_test_shows_the_runs_of_its_flows_and_workers_share_nothing(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        kit_own="def broken(): raise ValueError('no luck today')",
        test_mine="""
        import pytest
        FLOW = {"nodes": {"a": {"uses": "kit_own:broken"}}}
        def test_shows(flows):
            assert flows.run(FLOW).success
        @pytest.mark.parametrize("at", range(8))
        def test_alone(flows, at):
            run = flows.start({"nodes": {"w": {"uses": "wait", "with": {"for": 9}}}}, id="same")
            assert run.state.value == "running"
            flows.deploy({"id": "f", "nodes": {"a": {"uses": "end"}}})
            flows.schedules.put("s", "f", every="1m")
        """,
    )
    result = pytester.runpytest_subprocess("-n", "2", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=8, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*flowcore runs*",
            "run *: failed",
            "  a  failed *ValueError: no luck today",
            "*kit_own.py*",
        ]
    )
