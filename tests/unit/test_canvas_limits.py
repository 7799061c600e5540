"""A canvas refuses by name what it cannot keep, and so whatever a later release adds."""

from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

from flowcore import Flow
from flowcore.celery.canvas import unsupported as canvas_limits
from flowcore.celery.canvas.unsupported import refuse_unkept
from flowcore.check.check import check
from flowcore.errors import UsageError
from flowcore.graph.load import load_tree
from flowcore.nodes.types.builtin import BUILTIN
from flowcore.plan.compile import compile_plan
from flowcore.plan.plan import Plan
from flowcore.plan.policy import Policy

A = {"uses": "acme:f"}


def _plan(keys: dict[str, Any] | None = None, **more: Any) -> Plan:
    tree = {"id": "f", "nodes": {"a": {**A, **(keys or {})}}, **more}
    return compile_plan(check(load_tree(tree), resolve=False))


END = {"x": {"uses": "end"}}

#: What a canvas has not, and the words for it.
UNKEPT: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"for_each": [1]}, {}, "node 'a' has 'for_each'"),
    ({"for_each": {"uses": "acme:g"}}, {}, "node 'a' has 'for_each'"),
    ({"until": "output > 1", "max_iterations": 2}, {}, "node 'a' has 'until' or 'max_iterations'"),
    ({"if": "true"}, {}, "node 'a' has 'if'"),
    ({"concurrency": 1}, {}, "node 'a' has concurrency"),
    ({"rate_limit": "1/s"}, {}, "node 'a' has rate_limit"),
    ({"circuit_breaker": 1}, {}, "node 'a' has circuit_breaker"),
    ({"cache": "1h"}, {}, "node 'a' has cache"),
    ({"priority": 7}, {}, "node 'a' has 'priority'"),
    ({"fallback": {"uses": "acme:g"}}, {}, "node 'a' has a fallback with 'uses'"),
    ({"undo": {"uses": "end"}}, {}, "flow 'f' has 'undo'"),
    ({"with": {"x": "${{ secrets.KEY }}"}}, {}, "node 'a' has secrets"),
    ({"cache": "1h", "if": "true"}, {}, "node 'a' has cache, 'if'"),
    ({"uses": "parallel", "branches": END}, {}, "node 'a' has 'branches'"),
    ({"uses": "workflow", "flow": {"nodes": END}}, {}, "node 'a' has a sub-flow"),
    ({"uses": "wait", "with": {"for": "1s"}}, {}, "node 'a' has 'uses: wait'"),
    ({"uses": "signal", "with": {"name": "go"}}, {}, "node 'a' has 'uses: signal'"),
    ({"uses": "approval"}, {}, "node 'a' has 'uses: approval'"),
    ({"uses": "memory", "with": {"op": "read"}}, {}, "node 'a' has 'uses: memory'"),
    ({"uses": "celery:shop.charge"}, {}, "node 'a' has 'uses: celery:shop.charge'"),
    ({}, {"finally": END}, "flow 'f' has 'finally'"),
    ({}, {"on_failure": END}, "flow 'f' has 'on_failure'"),
    ({}, {"config": {"execution": {"timeout": 9}}}, "flow 'f' has 'timeout'"),
    ({}, {"config": {"execution": {"max_parallel": 9}}}, "flow 'f' has 'max_parallel'"),
    ({}, {"config": {"memory": {"max_messages": 5}}}, "flow 'f' has 'memory'"),
]

KEPT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"retry": {"max_attempts": 3}}, {}),
    ({"timeout": "5s"}, {}),
    ({"queue": "gpu"}, {}),
    ({"tags": ["t"]}, {}),
    ({"output": {"type": "null"}}, {}),
    ({"fallback": {"value": 1}}, {}),
    ({"idempotency_key": "k"}, {}),
    ({"join": "all_done"}, {"tags": ["x"]}),
    ({"uses": "condition", "with": {"cases": {"a2": "true"}}}, {}),
    ({}, {"config": {"execution": {"fail_fast": False}, "streaming": {"enabled": False}}}),
]


@pytest.mark.parametrize(("keys", "more", "said"), UNKEPT)
def test_what_a_canvas_has_not_is_refused_by_name(
    keys: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        refuse_unkept(_plan(keys, **more))
    assert str(refused.value) == (
        f"{said}, which a Celery canvas cannot keep: run the flow on the native backend "
        "(flow.run, flow.enqueue)"
    )


@pytest.mark.parametrize("row", range(len(KEPT)))
def test_what_a_canvas_keeps_is_let_through(row: int) -> None:
    keys, more = KEPT[row]
    if keys.get("uses") == "condition":
        tree = {"a": keys, "a2": {"uses": "end", "needs": ["a"]}}
        refuse_unkept(compile_plan(check(load_tree({"id": "f", "nodes": tree}))))
    else:
        refuse_unkept(_plan(keys, **more))


def test_every_type_of_node_is_one_or_the_other() -> None:
    told = {keys["uses"] for keys, _, _ in UNKEPT if "uses" in keys}
    starts_others = {"map", "for_each", "loop"}
    assert BUILTIN.keys() - starts_others == (told & BUILTIN.keys()) | canvas_limits._KEPT_TYPES


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterPolicy(Policy):
    hedge: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterPlan(Plan):
    region: str = ""


def test_what_a_later_release_adds_is_refused_until_it_is_put_into_the_table() -> None:
    plan = _plan()
    known = {field.name: getattr(plan, field.name) for field in fields(plan) if field.init}
    policy = plan.policy(0)
    of_policy = {field.name: getattr(policy, field.name) for field in fields(policy)}
    refuse_unkept(LaterPlan(**known))
    with pytest.raises(UsageError, match="flow 'f' has 'region'"):
        refuse_unkept(LaterPlan(**known, region="eu"))
    with pytest.raises(UsageError, match="node 'a' has 'hedge'"):
        refuse_unkept(replace(plan, policies=(LaterPolicy(**of_policy, hedge=2),)))
    with pytest.raises(UsageError, match="node 'a' has 'uses: teleport'"):
        refuse_unkept(replace(plan, policies=(replace(policy, uses="teleport"),)))


def test_an_empty_flow_has_no_canvas() -> None:
    with pytest.raises(UsageError, match="a flow without nodes has no canvas"):
        canvas_limits.refuse_large([], 0)
    assert Flow("f").definition()["nodes"] == {}
