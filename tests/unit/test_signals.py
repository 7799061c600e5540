"""Signals are a queue for each name; a question is answered once; nobody is told ok in vain."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcore.errors import UsageError
from flowcore.plan.awaited import awaited
from flowcore.ports.store import KEPT_SIGNALS
from flowcore.run.status import NodeState
from flowcore.testing import Flows

GO = {"uses": "signal", "with": {"name": "go"}}


def _chain(count: int, **first: Any) -> dict[str, Any]:
    nodes: dict[str, Any] = {"pre": {"uses": "wait", "with": {"for": "2s"}}}
    for at in range(count):
        nodes[f"n{at}"] = {**GO, "needs": [f"n{at - 1}" if at else "pre"]}
    return {"nodes": nodes, **first}


def test_two_early_signals_of_one_name_are_taken_in_their_order() -> None:
    flows = Flows()
    run = flows.start(_chain(2))
    run.signal("go", n=1)
    run.signal("go", n=2)
    flows.run_out()
    assert run.result().outputs == {"pre": {}, "n0": {"n": 1}, "n1": {"n": 2}}


@given(early=st.integers(0, 6), count=st.integers(1, 6))
def test_every_signal_is_taken_once_in_order_however_many_came_early(
    early: int, count: int
) -> None:
    flows = Flows()
    run = flows.start(_chain(count))
    given = min(early, count)
    for number in range(given):
        run.signal("go", n=number)
    flows.advance(5)
    for number in range(given, count):
        run.signal("go", n=number)
    outputs = run.result().outputs
    assert [outputs[f"n{at}"] for at in range(count)] == [{"n": at} for at in range(count)]


def test_a_loop_of_signals_takes_them_in_their_order() -> None:
    flows = Flows()
    tree = {
        "nodes": {
            "pre": {"uses": "wait", "with": {"for": "2s"}},
            "all": {**GO, "needs": ["pre"], "until": "output.n == 3"},
        }
    }
    run = flows.start(tree)
    for number in (1, 2, 3):
        run.signal("go", n=number)
    flows.run_out()
    assert run.output("all") == {"n": 3}
    assert len(flows.record(f"{run.id}/all").nodes) >= 3


def test_more_signals_than_a_run_keeps_are_refused() -> None:
    flows = Flows()
    run = flows.start(_chain(1))
    for number in range(KEPT_SIGNALS):
        run.signal("go", n=number)
    with pytest.raises(UsageError, match=r"keeps 1,000 signals 'go' that no node has taken yet"):
        run.signal("go", n=-1)
    flows.run_out()
    assert run.output("n0") == {"n": 0}


ASK: dict[str, Any] = {
    "nodes": {
        "pre": {"uses": "wait", "with": {"for": "2s"}},
        "buy": {"uses": "approval", "with": {"on_reject": "continue"}, "needs": ["pre"]},
    }
}


def test_of_two_early_answers_the_first_counts_and_the_second_is_told() -> None:
    flows = Flows()
    run = flows.start(ASK)
    run.approve("buy", by="ada", comment="cheap")
    with pytest.raises(
        UsageError, match=r"node 'buy' was approved already by ada \(cheap\): this answer does not"
    ):
        run.reject("buy")
    flows.run_out()
    assert run.output("buy") == {"approved": True, "by": "ada", "comment": "cheap"}


def test_a_second_answer_comes_too_late() -> None:
    flows = Flows()
    run = flows.start(ASK)
    flows.advance(3)
    run.reject("buy")
    with pytest.raises(UsageError, match=r"node 'buy' has succeeded: the answer comes too late"):
        run.approve("buy")


def test_an_answer_is_for_one_node_though_another_inside_has_its_name() -> None:
    ask = {"uses": "approval", "with": {"on_reject": "continue"}}
    tree = {
        "nodes": {
            "sub": {"uses": "workflow", "flow": {"nodes": {"buy": ask}}},
            "buy": {**ask, "needs": ["sub"]},
        }
    }
    flows = Flows()
    run = flows.start(tree)
    run.reject("buy")  # the outer one, which does not wait yet
    assert flows.record(f"{run.id}/sub").nodes["buy"].state is NodeState.WAITING
    run.approve("sub/buy")
    flows.run_out()
    result = run.result()
    assert result.outputs == {"sub": {"approved": True}, "buy": {"approved": False}}


def test_a_signal_that_no_node_waits_for_is_refused_with_those_that_are() -> None:
    flows = Flows()
    tree = {"nodes": {"a": GO, "b": {**ASK["nodes"]["buy"], "needs": ["a"]}}}
    run = flows.start(tree)
    with pytest.raises(
        UsageError,
        match=r"waits for a signal 'goo'; did you mean 'go'\? they wait for: b, go",
    ):
        run.signal("goo")
    with pytest.raises(UsageError, match=r"waits for a signal 'x'; none of them waits for any"):
        Flows().start({"nodes": {"a": {"uses": "wait", "with": {"for": "1s"}}}}).signal("x")


def test_a_signal_after_all_that_waited_for_it_have_ended_is_refused() -> None:
    flows = Flows()
    run = flows.start({"nodes": {"a": GO, "b": {"uses": "wait", "with": {"for": "1h"}}}})
    run.signal("go")
    with pytest.raises(UsageError, match=r"waited for the signal 'go' has ended: .* too late"):
        run.signal("go")


@pytest.mark.parametrize(
    "node",
    [
        {"uses": "signal", "with": {"name": "${{ inputs.what }}"}},
        {**GO, "for_each": [1, 2]},
        {**GO, "max_iterations": 3},
        {"uses": "parallel", "branches": {"x": GO}},
        {"uses": "workflow", "flow": {"nodes": {"x": GO}}},
        {"uses": "workflow", "flow": {"nodes": {"x": GO}}, "for_each": [1]},
        {"uses": "passthrough", "undo": GO},
    ],
)
def test_names_are_found_wherever_a_node_may_wait(node: dict[str, Any]) -> None:
    flows = Flows()
    run = flows.start(
        {"nodes": {"a": node, "z": {"uses": "wait", "with": {"for": "1h"}}}}, {"what": "go"}
    )
    assert any(one.fits("go") for one in awaited(flows.session.plan_of(run.id)))
    run.signal("go", n=1)


def test_an_approval_of_items_is_answered_by_number() -> None:
    flows = Flows()
    ask = {"uses": "approval", "for_each": ["a", "b"], "with": {"on_reject": "continue"}}
    run = flows.start({"nodes": {"ok": ask}})
    run.signal("ok[1]", approved=False)
    run.approve("ok/ok[0]")
    assert run.output("ok") == [{"approved": True}, {"approved": False}]
    with pytest.raises(UsageError, match=r"waits for a signal 'ok\['"):
        Flows().start({"nodes": {"ok": ask}}).signal("ok[")
