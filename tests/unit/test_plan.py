"""COMPILE: plans are canonical, hashed by content, and cheap."""

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcore.check.check import CheckedFlow, check
from flowcore.errors import UnsupportedValueError
from flowcore.graph.flow import Config, FlowDefinition, NodeDefinition
from flowcore.graph.load import load_tree
from flowcore.graph.policy import Retry
from flowcore.plan.compile import compile_plan
from flowcore.plan.plan import Plan


def _compile(tree: Mapping[str, Any]) -> Plan:
    return compile_plan(check(load_tree(tree), resolve=False))


def _nodes(**nodes: Any) -> dict[str, Any]:
    return {"id": "flow", "nodes": {id: {"uses": "acme:f", **node} for id, node in nodes.items()}}


@st.composite
def dags(draw: st.DrawFn) -> dict[str, set[str]]:
    """Predecessors by id; ids do not follow the topological order."""
    size = draw(st.integers(1, 14))
    ids = draw(st.permutations([f"n{number}" for number in range(size)]))
    return {
        id: draw(st.sets(st.sampled_from(ids[:at]), max_size=4)) if at else set()
        for at, id in enumerate(ids)
    }


def _spelled(dag: Mapping[str, set[str]], order: list[str], rng: random.Random) -> dict[str, Any]:
    """The same flow, each edge written in a random one of its ways."""
    nodes: dict[str, Any] = {id: {"uses": f"acme:{id}"} for id in order}
    edges: list[Any] = []
    for target, before in dag.items():
        for source in rng.sample(sorted(before), len(before)):
            spelling = rng.choice(["needs", "from", "source", "pair", "both"])
            if spelling in {"needs", "both"}:
                nodes[target].setdefault("needs", []).append(source)
            if spelling in {"from", "both"}:
                edges.append({"from": source, "to": target})
            if spelling == "source":
                edges.append({"source": source, "target": target})
            if spelling == "pair":
                edges.append([source, target])
    rng.shuffle(edges)
    return {"id": "flow", "nodes": nodes, "edges": edges}


@given(dag=dags(), first=st.integers(0, 2**32), second=st.integers(0, 2**32))
def test_equal_flows_give_equal_plans_however_their_edges_are_spelled(
    dag: dict[str, set[str]], first: int, second: int
) -> None:
    order = sorted(dag)
    one = _compile(_spelled(dag, order, random.Random(first)))
    two = _compile(_spelled(dag, order, random.Random(second)))
    assert one == two
    assert one.hash == two.hash
    assert one.to_bytes() == two.to_bytes()


@given(dag=dags())
def test_every_predecessor_has_a_smaller_number_than_its_successors(
    dag: dict[str, set[str]],
) -> None:
    plan = _compile(_spelled(dag, sorted(dag), random.Random(1)))
    for node, before in enumerate(plan.pred):
        assert list(before) == sorted(set(before))
        assert {plan.ids[source] for source in before} == dag[plan.ids[node]]
        assert all(source < node for source in before)
        assert all(node in plan.succ[source] for source in before)
        deepest = max((plan.levels[source] + 1 for source in before), default=0)
        assert plan.levels[node] == deepest
    assert list(plan.levels) == sorted(plan.levels)


@given(dag=dags())
def test_ancestors_come_each_once_in_falling_order(dag: dict[str, set[str]]) -> None:
    plan = _compile(_spelled(dag, sorted(dag), random.Random(1)))
    for node, id in enumerate(plan.ids):
        found = list(plan.ancestors(node))
        assert found == sorted(set(found), reverse=True)
        expected, left = set[str](), set(dag[id])
        while left:
            nearest = left.pop()
            expected.add(nearest)
            left |= dag[nearest] - expected
        assert {plan.ids[ancestor] for ancestor in found} == expected


@given(
    dag=dags(),
    argument=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=8)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=8,
    ),
)  # fmt: skip
def test_a_plan_reads_back_from_the_wire_equal(dag: dict[str, set[str]], argument: Any) -> None:
    nodes = {
        id: NodeDefinition.model_validate(
            {"uses": "acme:f", "with": {"argument": argument}, "retry": {"retry_on": ["OSError"]}}
        )
        for id in dag
    }
    plan = compile_plan(_checked(nodes, {id: tuple(before) for id, before in dag.items()}))
    assert Plan.from_bytes(plan.to_bytes()) == plan
    assert Plan.from_bytes(plan.to_bytes()).digest() == plan.hash


def test_a_plan_of_another_wire_version_is_refused() -> None:
    packed = _compile(_nodes(a={})).to_bytes()
    with pytest.raises(ValueError, match="wire version 6"):
        Plan.from_bytes(packed.replace(b"\xa1v\x05", b"\xa1v\x06"))


BASE = _nodes(a={"with": {"x": 1, "y": 2}}, b={"needs": ["a"]}, c={"needs": ["a"]})


@pytest.mark.parametrize(
    "change",
    [
        {"version": "2"},
        {"id": "other"},
        {"inputs": {"url": {"type": "string"}}},
        {"config": {"execution": {"max_parallel_nodes": 3}}},
        {"config": {"execution": {"timeout_seconds": 3}}},
        {"config": {"execution": {"fail_fast": False}}},
        {"config": {"execution": {"retry_failed_nodes": True}}},
        {"edges": [{"from": "a", "to": "b", "when": "a.output.ok"}]},
        {"edges": [["b", "c"]]},
        {
            "nodes": _nodes(a={"with": {"x": 1.0, "y": 2}}, b={"needs": ["a"]}, c={"needs": ["a"]})[
                "nodes"
            ]
        },
        {
            "nodes": _nodes(
                a={"with": {"x": True, "y": 2}}, b={"needs": ["a"]}, c={"needs": ["a"]}
            )["nodes"]
        },
        {
            "nodes": _nodes(a={"with": {"x": 1, "y": 2}}, c={"needs": ["a"]}, b={"needs": ["a"]})[
                "nodes"
            ]
        },
        {
            "nodes": _nodes(
                a={"with": {"x": 1, "y": 2}}, b={"needs": ["a"], "queue": "gpu"}, c={"needs": ["a"]}
            )["nodes"]
        },
    ],
)
def test_every_change_that_matters_changes_the_hash(change: dict[str, Any]) -> None:
    assert _compile({**BASE, **change}).hash != _compile(BASE).hash


@pytest.mark.parametrize(
    "change",
    [
        {"description": "words for people"},
        {
            "nodes": _nodes(a={"with": {"y": 2, "x": 1}}, b={"needs": ["a"]}, c={"needs": ["a"]})[
                "nodes"
            ]
        },
        {"config": {"backend_config": {}}},
    ],
)
def test_what_does_not_matter_leaves_the_hash_alone(change: dict[str, Any]) -> None:
    assert _compile({**BASE, **change}) == _compile(BASE)


def test_nodes_have_what_the_defaults_say_unless_they_say_otherwise() -> None:
    defaults: dict[str, Any] = {"retry": {"max_attempts": 5}, "timeout": "30s", "queue": "gpu"}
    defaults |= {"priority": 7, "tags": ["slow"]}
    own = {"retry": {"max_attempts": 2}, "timeout": 1, "queue": "cpu", "priority": 0, "tags": ["a"]}
    none: dict[str, Any] = {
        "retry": None,
        "timeout": None,
        "queue": None,
        "priority": None,
        "tags": [],
    }
    tree = _nodes(a={}, b=own, c=none)
    for spelled in ({"config": {"defaults": defaults}}, {"defaults": defaults}):
        plan = _compile({**tree, **spelled})
        found = [
            (policy.retry and policy.retry.max_attempts, policy.timeout, policy.queue)
            for policy in map(plan.policy, range(3))
        ]
        assert found == [(5, 30.0, "gpu"), (2, 1.0, "cpu"), (None, None, None)]
        more = [(policy.priority, policy.tags) for policy in map(plan.policy, range(3))]
        assert more == [(7, ("slow",)), (0, ("a",)), (None, ())]
        assert Plan.from_bytes(plan.to_bytes()) == plan
    strategy = {"config": {"backend_config": {"retry_strategy": "linear"}, "defaults": defaults}}
    assert _compile({**tree, **strategy}).policy(0).retry == Retry(max_attempts=5)


def test_a_node_without_a_retry_gets_the_configs() -> None:
    tree = _nodes(a={}, b={"retry": {"max_attempts": 7}})
    plan = _compile({**tree, "config": {"backend_config": {"retry_strategy": "linear"}}})
    assert plan.policy(0).retry == Retry(backoff="linear")
    assert plan.policy(1).retry == Retry(max_attempts=7)
    assert _compile(tree).policy(0).retry is None


def test_equal_policies_are_kept_once() -> None:
    plan = _compile(_nodes(a={"timeout": "1m"}, b={"timeout": 60}, c={"timeout": 61}))
    assert plan.policy_of == (0, 0, 1)


def test_a_plan_shares_nothing_with_the_definition_it_came_from() -> None:
    nested = {"deep": [1]}
    nodes = {"a": NodeDefinition.model_construct(uses="acme:f", with_={"x": nested})}
    plan = compile_plan(_checked(nodes, {}))
    nested["deep"].append(2)
    assert plan.params[0] == {"x": {"deep": [1]}}


def test_a_value_that_cannot_travel_is_named_with_its_node() -> None:
    nodes = {
        "good": NodeDefinition.model_validate({"uses": "acme:f"}),
        "bad": NodeDefinition.model_validate({"uses": "acme:f", "with": {"x": {1, 2}}}),
    }
    with pytest.raises(UnsupportedValueError, match="'with' of node 'bad'"):
        compile_plan(_checked(nodes, {}))


def _checked(
    nodes: Mapping[str, NodeDefinition], needs: Mapping[str, tuple[str, ...]]
) -> CheckedFlow:
    """What ``check`` would give, without its cost; ids stand in topological order."""
    level: dict[str, int] = {}
    for id in nodes:
        level[id] = max((level[source] + 1 for source in needs.get(id, ())), default=0)
    return CheckedFlow(
        definition=FlowDefinition.model_construct(
            id="flow", version="1", inputs={}, nodes=nodes, edges=(), config=Config()
        ),
        order=tuple(sorted(nodes, key=level.__getitem__)),
        needs=needs,
        when={},
    )


def _chains(at: int, _rng: random.Random) -> tuple[str, ...]:
    return (f"n{at - 100}",) if at >= 100 else ()


def _fan(at: int, _rng: random.Random) -> tuple[str, ...]:
    return ("n0",) if at else ()


def _dag(at: int, rng: random.Random) -> tuple[str, ...]:
    return tuple({f"n{rng.randrange(max(0, at - 5_000), at)}" for _ in range(3)}) if at else ()


@pytest.mark.parametrize("shape", [_chains, _fan, _dag])
def test_a_hundred_thousand_nodes_compile_in_less_than_two_seconds_of_cpu(
    shape: Callable[[int, random.Random], tuple[str, ...]],
) -> None:
    rng = random.Random(1)
    size = 100_000
    retry = Retry(max_attempts=4)
    nodes = {
        f"n{at}": NodeDefinition.model_construct(
            uses="acme:f",
            with_={"chunk": at, "options": {"deep": True}},
            retry=retry if at % 2 else None,
            timeout=float(at % 7),
        )
        for at in range(size)
    }
    flow = _checked(nodes, {f"n{at}": shape(at, rng) for at in range(size)})
    start = time.process_time()
    plan = compile_plan(flow)
    used = time.process_time() - start
    assert len(plan) == size
    assert used < 2.0, f"{used:.2f} s"
