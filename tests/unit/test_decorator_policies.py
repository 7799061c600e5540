"""A decorator's policies are defaults of its function's nodes, however the function is named."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcore import Flow
from flowcore.check.check import check
from flowcore.engine.attempts.decorator_policies import Marked
from flowcore.errors import DefinitionError
from flowcore.graph.decorators import POLICIES, laid_over
from flowcore.graph.load import load_text, load_tree
from flowcore.graph.node_spec import NodeSpec
from flowcore.plan.compile import compile_plan
from flowcore.plan.explain.policies import policies_of
from flowcore.plan.explain.text import render
from flowcore.plan.plan import Plan
from flowcore.plan.policy import Policy
from flowcore.testing import Flows
from tests.names_only import compiled_elsewhere

MODULES = Path(__file__).parents[1] / "integration" / "modules"
EVERYTHING = "decorated_nodes:everything"


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(MODULES))


def _plan(tree: dict[str, Any], *, resolve: bool = True) -> Plan:
    return compile_plan(check(load_tree(tree), resolve=resolve))


def _policy(**keys: Any) -> Policy:
    return _plan({"nodes": {"a": {"uses": EVERYTHING, **keys}}}).policy(0)


def test_all_that_a_decorator_says_holds_in_yaml() -> None:
    plan = compile_plan(check(load_text(f"nodes: {{a: {{uses: '{EVERYTHING}'}}}}"), resolve=True))
    policy = plan.policy(0)
    assert policy.retry is not None
    assert (policy.retry.max_attempts, policy.retry.delay, policy.retry.backoff) == (3, 2, "fixed")
    assert (policy.timeout, policy.queue, policy.join) == (9.0, "gpu", "all_done")
    assert policy.concurrency is not None
    assert (policy.concurrency.limit, policy.concurrency.key) == (3, "k")
    assert policy.rate_limit is not None
    assert (policy.rate_limit.limit, policy.rate_limit.per) == (10, 1.0)
    assert [one.value for one in policy.fallback] == [1]
    assert policy.circuit_breaker is not None
    assert policy.circuit_breaker.failures == 4
    assert policy.cache is not None
    assert (policy.cache.ttl, policy.cache.name) == (3600.0, "shared")
    assert (policy.priority, policy.tags, policy.own) == (8, ("slow",), None)


def test_the_definition_wins_key_by_key() -> None:
    policy = _policy(timeout="1s", queue="cpu", tags=[], join="any_success", fallback={"value": 2})
    assert (policy.timeout, policy.queue, policy.tags, policy.join) == (
        *(1.0, "cpu", ()),
        "any_success",
    )
    assert [one.value for one in policy.fallback] == [2]
    assert policy.priority == 8


def test_the_definition_wins_key_by_key_inside_a_policy() -> None:
    policy = _policy(retry={"max_attempts": 7}, concurrency=9, cache="2h", rate_limit={"limit": 5})
    assert policy.retry is not None
    assert (policy.retry.max_attempts, policy.retry.delay, policy.retry.backoff) == (7, 2, "fixed")
    assert policy.concurrency is not None
    assert (policy.concurrency.limit, policy.concurrency.key) == (9, "k")
    assert policy.cache is not None
    assert (policy.cache.ttl, policy.cache.name) == (7200.0, "shared")
    assert policy.rate_limit is not None
    assert (policy.rate_limit.limit, policy.rate_limit.per) == (5, 1.0)


def test_a_null_of_the_definition_says_none() -> None:
    names = ("retry", "timeout", "queue", "cache", "concurrency", "rate_limit", "circuit_breaker")
    policy = _policy(**dict.fromkeys((*names, "priority", "fallback")))
    assert {getattr(policy, name) for name in (*names, "priority")} == {None}
    assert policy.fallback == ()


def test_the_decorator_wins_over_the_flows_defaults() -> None:
    tree = {
        "nodes": {"a": {"uses": EVERYTHING}, "b": {"uses": "decorated_nodes:guess"}},
        "config": {"defaults": {"timeout": 77, "queue": "all"}},
    }
    plan = _plan(tree)
    found = {id: (plan.policy(at).timeout, plan.policy(at).queue) for at, id in enumerate(plan.ids)}
    assert found == {"a": (9.0, "gpu"), "b": (77.0, "all")}


_KEYS: dict[str, st.SearchStrategy[Any]] = {
    "retry": st.fixed_dictionaries(
        {},
        optional={
            "max_attempts": st.integers(1, 9),
            "delay": st.integers(0, 9),
            "backoff": st.sampled_from(["fixed", "linear"]),
            "retry_on": st.just(["KeyError"]),
        },
    )
    | st.none(),
    "timeout": st.integers(1, 9) | st.none(),
    "queue": st.sampled_from(["q1", "q2"]),
    "cache": st.integers(1, 9)
    | st.fixed_dictionaries({"ttl": st.integers(1, 9)}, optional={"name": st.just("n")})
    | st.none(),
    "concurrency": st.integers(1, 9)
    | st.fixed_dictionaries({"limit": st.integers(1, 9)}, optional={"key": st.just("k")}),
    "tags": st.lists(st.sampled_from(["x", "y"]), max_size=2, unique=True),
    "priority": st.integers(0, 9),
}
_SHORT = {"cache": "ttl", "concurrency": "limit"}


def _said(keys: dict[str, Any], name: str) -> dict[str, Any]:
    value = keys[name]
    return value if isinstance(value, dict) else {_SHORT[name]: value}


@given(
    own=st.fixed_dictionaries({}, optional=_KEYS), below=st.fixed_dictionaries({}, optional=_KEYS)
)
def test_every_key_is_the_definitions_or_else_the_decorators(
    own: dict[str, Any], below: dict[str, Any]
) -> None:
    below = {name: value for name, value in below.items() if value is not None}
    merged = laid_over(own, below)
    assert merged.keys() == own.keys() | below.keys()
    for name, value in merged.items():
        if name not in below:
            assert value == own[name]
        elif name not in own:
            assert value == below[name]
        elif own[name] is None or name not in {"retry", *_SHORT}:
            assert value == own[name]
        else:
            first, second = _said(below, name), _said(own, name)
            assert json.loads(json.dumps(value)) == {**first, **second}


@given(own=st.fixed_dictionaries({}, optional=_KEYS))
def test_a_worker_decides_as_the_compiler_does(own: dict[str, Any]) -> None:
    """Of all but queue, join and priority, which are decided before a worker can ask."""
    sys.path.insert(0, str(MODULES))
    try:
        there = _policy(**own)
        below = {
            "timeout": 5,
            "retry": {"delay": 3, "max_attempts": 2},
            "cache": {"ttl": 8, "key": "z"},
        }
        later = Policy(uses=EVERYTHING, own=own).decided(below)
        here = laid_over(own, below)
        assert later.own is None
        assert later.timeout == here.get("timeout")
        if isinstance(here.get("retry"), dict):
            assert later.retry is not None
            assert later.retry.delay == here["retry"].get("delay", 1.0)
        else:
            assert later.retry is None
        assert there.own is None
    finally:
        sys.path.remove(str(MODULES))


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ({"for_each": [1], "uses": "decorated_nodes:shy"}, "map"),
        ({"max_iterations": 2, "uses": "decorated_nodes:shy"}, "loop"),
        ({"uses": "parallel", "branches": {"x": {"uses": "decorated_nodes:shy"}}}, "branch"),
        ({"uses": "workflow", "flow": {"nodes": {"x": {"uses": "decorated_nodes:shy"}}}}, "flow"),
        ({"uses": "tool", "with": {"name": "shy"}}, "tool"),
        ({"uses": "decorated_nodes:shy"}, "plain"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_holds_wherever_the_function_is_used(tree: dict[str, Any], path: str) -> None:
    del path  # names the case
    flow: dict[str, Any] = {"nodes": {"a": tree}, "config": {"tools": ["decorated_nodes:shy"]}}
    result = Flows().run(flow)
    assert result.success, result.error
    assert "3" in str(result.output)


def test_it_holds_for_what_undoes_and_for_what_runs_at_the_end() -> None:
    fails = {"uses": "flowcore.testing.nodes:fail", "needs": ["a"]}
    tree = {
        "nodes": {
            "a": {"uses": "passthrough", "undo": {"uses": "decorated_nodes:shy"}},
            "b": fails,
        },
        "on_failure": {"tell": {"uses": "decorated_nodes:shy"}},
        "finally": {"close": {"uses": "decorated_nodes:shy"}},
    }
    flows = Flows()
    result = flows.run(tree)
    nodes = flows.record(f"{result.run_id}/finally").nodes
    told = {id: (node.state.value, node.attempts) for id, node in nodes.items()}
    assert told == {
        "undo a": ("succeeded", 3),
        "tell": ("succeeded", 3),
        "close": ("succeeded", 3),
    }


def test_of_a_function_that_gives_items_only_what_such_a_function_may_say_holds() -> None:
    tree = {"nodes": {"a": {"uses": "passthrough", "for_each": {"uses": EVERYTHING}}}}
    policy = _plan(tree).policy(0)
    assert (policy.timeout, policy.queue, policy.cache, policy.tags) == (9.0, "gpu", None, ())
    plan = compiled_elsewhere(tree)
    policy = Marked().plan(plan, 0).policy(0)
    assert (policy.timeout, policy.queue, policy.cache, policy.tags) == (9.0, None, None, ())


def test_a_python_flow_says_the_same_as_yaml() -> None:
    decorated_nodes: Any = importlib.import_module("decorated_nodes")
    with Flow("f") as flow:
        decorated_nodes.everything.step("a", retry={"max_attempts": 7})
    tree = {"id": "f", "nodes": {"a": {"uses": EVERYTHING, "retry": {"max_attempts": 7}}}}
    assert flow.plan().policy(0) == _plan(tree).policy(0)


def test_a_node_configured_to_have_no_retry_has_none() -> None:
    decorated_nodes: Any = importlib.import_module("decorated_nodes")
    bold = decorated_nodes.shy.configured(retry=None, timeout=5)
    with Flow("f") as flow:
        bold.step("a")
    policy = flow.plan().policy(0)
    assert (policy.retry, policy.timeout) == (None, 5.0)


def test_a_decorator_that_says_what_cannot_hold_is_a_problem_of_the_definition() -> None:
    with pytest.raises(DefinitionError, match=r"FC250.*decorator of decorated_nodes:wrong says"):
        _plan({"nodes": {"a": {"uses": "decorated_nodes:wrong"}}})


def _run_plan(flows: Flows, plan: Plan) -> Any:
    flow = Flow("f")
    flow._plan = plan
    return flows.run(flow)


def test_a_plan_compiled_where_nothing_is_imported_behaves_the_same() -> None:
    tree = {
        "id": "f",
        "nodes": {
            "shy": {"uses": "decorated_nodes:shy"},
            "once": {"uses": "decorated_nodes:shy", "retry": {"max_attempts": 1}},
            "none": {"uses": "decorated_nodes:shy", "retry": None},
            "slow": {"uses": "decorated_nodes:slow"},
            "broken": {"uses": "decorated_nodes:broken"},
            "map": {"uses": "decorated_nodes:broken", "for_each": [1, 2]},
            "cached": {"uses": "decorated_nodes:cached"},
        },
        "config": {"execution": {"fail_fast": False}},
    }
    plan = compiled_elsewhere(tree)
    assert {policy.own is not None for policy in plan.policies} == {True, False}
    told = []
    for one in (plan, _plan(tree)):
        flows = Flows()
        first, again = _run_plan(flows, one), _run_plan(flows, one)
        told.append(
            {
                id: (node.state.value, node.attempts, node.error.type if node.error else None)
                for id, node in first.nodes.items()
            }
        )
        assert first.outputs["broken"] == "a guess after ConnectionError"
        assert first.outputs["map"] == ["a guess after ConnectionError"] * 2
        assert again.outputs["cached"] == first.run_id
    assert told[0] == told[1]
    assert told[0]["shy"] == ("succeeded", 3, None)
    assert told[0]["once"][:2] == told[0]["none"][:2] == ("failed", 1)
    assert told[0]["slow"] == ("failed", 1, "NodeTimeoutError")


def test_such_a_plan_reads_back_equal() -> None:
    plan = compiled_elsewhere({"nodes": {"a": {"uses": EVERYTHING, "retry": {"max_attempts": 2}}}})
    assert plan.policy(0).own == {"retry": {"max_attempts": 2}}
    assert Plan.from_bytes(plan.to_bytes()) == plan
    assert plan.digest() == plan.hash


def test_every_key_that_a_decorator_takes_is_laid_under() -> None:
    assert set(POLICIES) == set(NodeSpec.__dataclass_fields__) - {"name"}


def test_inspect_and_graph_show_which_policy_comes_from_where(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = ModuleType("acme_marks")
    monkeypatch.setitem(sys.modules, "acme_marks", module)
    text = (
        "from flowcore import node\n"
        "@node(timeout='30s', queue='gpu', retry={'max_attempts': 4, 'delay': 2}, tags=['t'])\n"
        "def work(x=1): return x\n"
    )
    exec(text, module.__dict__)
    own = {"timeout": "5s", "retry": {"max_attempts": 5}, "priority": 2}
    tree = {
        "a": {"uses": "acme_marks:work", **own},
        "b": {"uses": "acme_marks:work", "for_each": [1], "needs": ["a"]},
        "c": {"uses": "end", "timeout": "9s", "needs": ["b"]},
    }
    plan = compile_plan(check(load_tree({"id": "f", "nodes": tree}), resolve=False))
    plan = Plan.from_bytes(plan.to_bytes())
    assert policies_of(plan.policy(0)) == {
        "retry": ({"max_attempts": 5, "delay": 2.0}, "definition; decorator: delay"),
        "timeout": ("5.00 s", "definition"),
        "queue": ("gpu", "decorator"),
        "priority": (2, "definition"),
        "tags": (["t"], "decorator"),
    }
    assert policies_of(plan.policy(1)) == {
        "retry": ({"max_attempts": 4, "delay": 2.0}, "decorator"),
        "timeout": ("30.00 s", "decorator"),
        "queue": ("gpu", "decorator"),
        "tags": (["t"], "decorator"),
    }
    assert policies_of(plan.policy(2)) == {"timeout": ("9.00 s", "definition")}
    lines = render(plan).splitlines()
    assert any("@node: retry.delay, queue, tags" in line for line in lines)
    assert any("@node: retry, timeout, queue, tags" in line for line in lines)
    with Flow("g") as flow:
        flow.add("w", module.work, timeout="7s")
    built = policies_of(flow.plan().policy(0))
    assert built["timeout"] == ("7.00 s", "definition")
    assert built["queue"] == ("gpu", "decorator")


def test_a_policy_that_says_what_holds_anyway_is_shown_in_full() -> None:
    retry = {"max_attempts": 3, "delay": "1s"}
    plan = _plan({"nodes": {"a": {"uses": "end", "retry": retry}}}, resolve=False)
    value, source = policies_of(Plan.from_bytes(plan.to_bytes()).policy(0))["retry"]
    assert (value["max_attempts"], value["delay"], source) == (3, 1.0, "definition")
