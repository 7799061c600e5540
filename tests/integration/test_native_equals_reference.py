"""Random flows: the native engine comes to what the reference interpreter says."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowcore.client.run import Run
from flowcore.run.event import Event, EventType
from tests.engine import Engine
from tests.integration.modules.engine_nodes import mix
from tests.reference import interpret

RULES = ["all_success"] * 4 + ["all_done", "any_success", "none_failed"]


@st.composite
def flows(draw: st.DrawFn) -> tuple[dict[str, dict[str, Any]], set[tuple[str, str]]]:
    """Nodes in topological order, and the edges that hold only for even values."""
    count = draw(st.integers(1, 60))
    nodes: dict[str, dict[str, Any]] = {}
    conditions: set[tuple[str, str]] = set()
    for index in range(count):
        name = f"v{index}"
        most = min(index, 4)
        before = (
            draw(st.lists(st.integers(0, index - 1), max_size=most, unique=True)) if index else []
        )
        nodes[name] = {
            "uses": "engine_nodes:mix",
            "needs": [f"v{source}" for source in sorted(before)],
            "join": draw(st.sampled_from(RULES)),
            "with": {"salt": draw(st.integers(0, 99)), "bad": draw(st.integers(0, 14)) == 0},
        }
        conditions |= {(f"v{source}", name) for source in before if draw(st.integers(0, 9)) == 0}
    return nodes, conditions


@pytest.mark.timeout(300)
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(flow=flows())
def test_a_random_flow_equals_the_reference_interpreter(
    threaded: Engine, flow: tuple[dict[str, dict[str, Any]], set[tuple[str, str]]]
) -> None:
    nodes, handle = flow[0], []

    def start(**definition: Any) -> Run:
        handle.append(threaded.start(**definition))
        return handle[-1]

    assert_equals_reference(flow, start)
    _check_order(list(handle[0].events()), nodes)


def assert_equals_reference(
    flow: tuple[dict[str, dict[str, Any]], set[tuple[str, str]]], start: Callable[..., Run]
) -> None:
    """Start a random flow, and hold its end against the reference interpreter's."""
    nodes, conditions = flow
    edges = [
        {"from": source, "to": target, "when": f"{source}.output.value % 2 == 0"}
        for source, target in sorted(conditions)
    ]
    expected = interpret(
        nodes,
        mix,
        lambda source, target, output: (
            (source, target) not in conditions or output["value"] % 2 == 0
        ),
    )
    config = {"execution": {"fail_fast": False}}
    result = start(nodes=nodes, edges=edges, config=config).wait(60)
    assert {name: record.state.value for name, record in result.nodes.items()} == expected.states
    assert result.outputs == expected.outputs
    assert result.state.value == expected.state


def _check_order(events: list[Event], nodes: dict[str, dict[str, Any]]) -> None:
    """No node starts before all its predecessors have settled, and none starts twice."""
    settled: set[str] = set()
    started: set[str] = set()
    for event in events:
        if event.type is EventType.NODE_STARTED:
            assert event.node is not None
            assert event.node not in started
            started.add(event.node)
            assert set(nodes[event.node]["needs"]) <= settled
        elif event.type in {
            EventType.NODE_SUCCEEDED,
            EventType.NODE_FAILED,
            EventType.NODES_SKIPPED,
        }:
            settled |= set(event.nodes)
    assert settled == set(nodes)
