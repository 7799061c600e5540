"""A map, a loop or branches that come half-way: what succeeded is undone, the last first."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcore.engine.runs.control import resume
from flowcore.errors import RunStateError
from flowcore.run.status import NodeState, RunState
from flowcore.testing import Flows

HERE = f"{__name__}:"
BOOKED: list[Any] = []
UNDONE: list[Any] = []


@pytest.fixture(autouse=True)
def books() -> None:
    BOOKED.clear()
    UNDONE.clear()


def book(n: Any, bad: Any = None) -> Any:
    if n == bad:
        raise ValueError("sold out")
    BOOKED.append(n)
    return n


def step_on(state: int, bad: int) -> int:
    return int(book(state + 1, bad))


def cancel(output: Any) -> None:
    UNDONE.append(output)


def pages(count: int) -> Any:
    yield from range(count)


UNDO = {"undo": {"uses": f"{HERE}cancel"}}


def _map(count: int, bad: int, **more: Any) -> dict[str, Any]:
    given = {"n": "${{ item }}", "bad": bad}
    return {
        "uses": f"{HERE}book",
        "for_each": list(range(count)),
        "with": given,
        "max_parallel": 1,
        **UNDO,
        **more,
    }


def _run(**nodes: Any) -> Any:
    return Flows().run({"nodes": nodes})


@given(count=st.integers(1, 8), bad=st.integers(0, 8))
def test_the_items_that_succeeded_are_undone_in_reverse(count: int, bad: int) -> None:
    BOOKED.clear()
    UNDONE.clear()
    result = _run(book=_map(count, bad))
    assert result.success == (bad >= count)
    assert ([] if result.success else BOOKED[::-1]) == UNDONE


def test_a_map_that_succeeded_is_undone_by_one_call() -> None:
    fails = {"uses": "flowcore.testing.nodes:fail", "needs": ["book"]}
    Flows().run({"nodes": {"book": _map(3, 9), "then": fails}})
    assert UNDONE == [[0, 1, 2]]


def test_the_iterations_that_succeeded_are_undone_in_reverse() -> None:
    loop = {
        "uses": f"{HERE}step_on",
        "initial": 0,
        "max_iterations": 70,
        "with": {"state": "${{ state }}", "bad": 60},
        **UNDO,
    }
    result = _run(book=loop)
    assert not result.success
    assert list(range(59, 0, -1)) == UNDONE


def test_the_branches_that_succeeded_are_undone_in_reverse() -> None:
    branches = {
        name: {"uses": f"{HERE}book", "with": {"n": name, "bad": "c"}} for name in ("a", "b", "c")
    }
    result = _run(book={"uses": "parallel", "branches": branches, **UNDO})
    assert not result.success
    assert UNDONE == ["b", "a"]


def test_what_is_nested_is_undone_by_its_parts() -> None:
    nested = {
        "uses": f"{HERE}step_on",
        "for_each": [0, 10],
        "initial": "${{ item }}",
        "max_iterations": 3,
        "with": {"state": "${{ state }}", "bad": 12},
        "max_parallel": 1,
        **UNDO,
    }
    result = _run(book={**nested})
    assert not result.success
    # The first item, a loop, has succeeded with 3; of the second one its first iteration has.
    assert UNDONE == [11, 3]


def test_what_a_function_gives_is_undone_too() -> None:
    given = {"for_each": {"uses": f"{HERE}pages", "with": {"count": 4}}}
    result = _run(book=_map(0, 2, **given))
    assert not result.success
    assert sorted(UNDONE, reverse=True) == UNDONE
    assert UNDONE


def test_half_a_map_in_a_sub_flow_is_undone_there() -> None:
    flow = {"nodes": {"book": _map(3, 2)}}
    result = _run(sub={"uses": "workflow", "flow": flow})
    assert not result.success
    assert UNDONE == [1, 0]


def test_half_a_map_of_a_cancelled_run_is_undone() -> None:
    flows = Flows()
    wait = {"uses": "signal", "with": {"name": "go"}}
    flow = {"nodes": {"a": {"uses": "passthrough", "with": {"x": "${{ inputs.n }}"}}}}
    flow["nodes"]["b"] = {**wait, "needs": ["a"], "if": "inputs.n == 1"}
    node = {
        "uses": "workflow",
        "flow": flow,
        "for_each": [0, 1],
        "with": {"n": "${{ item }}"},
        **UNDO,
    }
    run = flows.start({"nodes": {"book": node}})
    run.cancel()
    flows.run_out()
    assert run.state is RunState.CANCELLED
    assert len(UNDONE) == 1


def test_undoing_goes_on_after_one_that_fails_and_what_is_undone_is_no_start_for_a_resume() -> None:
    flows = Flows()
    flows.fail("undo book 1")
    run = flows.start({"nodes": {"book": _map(4, 3)}})
    flows.run_out()
    nodes = flows.record(f"{run.id}/finally").nodes
    assert {id: node.state for id, node in nodes.items()} == {
        "undo book 2": NodeState.SUCCEEDED,
        "undo book 1": NodeState.FAILED,
        "undo book 0": NodeState.SUCCEEDED,
    }
    assert UNDONE == [2, 0]
    with pytest.raises(RunStateError, match="has undone what it did"):
        resume(flows.store, flows.store, flows._post, run.id)


def test_an_item_waits_for_an_approval_to_be_undone() -> None:
    flows = Flows()
    ask = {"undo": {"uses": "approval", "with": {"message": "really?"}}}
    run = flows.start({"nodes": {"book": {**_map(3, 2), **ask}}})
    run.signal("undo book 1", approved=True)
    run.approve("finally/undo book 0")
    assert run.state is RunState.FAILED
