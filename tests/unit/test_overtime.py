"""What a parent may decide of an attempt that it ends, and what it leaves to a child."""

from dataclasses import replace
from typing import Any

import pytest

from flowcore.check.check import check
from flowcore.engine.attempts.work_table import RunningWork, WorkTable
from flowcore.engine.worker.liveness import Excess
from flowcore.engine.worker.overtime import outcome_of
from flowcore.graph.load import load_tree
from flowcore.plan.compile import compile_plan
from flowcore.plan.plan import Plan


def _plan(edges: list[dict[str, str]] | None = None, **policies: Any) -> Plan:
    nodes: dict[str, Any] = {"a": {"uses": "passthrough", "timeout": "2s", **policies}}
    if edges:
        nodes["b"] = {"uses": "passthrough"}
    tree = {"id": "flow", "nodes": nodes, "edges": edges or []}
    return compile_plan(check(load_tree(tree)))


def _work(
    attempt: int = 1, lost: int = 0, before: int = 0, *, deferred: bool = False
) -> RunningWork:
    table = WorkTable(1)
    record = table.take(0)
    assert record is not None
    record.open("run", plan="plan", past=(lost, before, deferred))
    record.begin(0, attempt)
    work = table.read(0)
    assert work is not None
    return work


def _kind(plan: Plan, work: RunningWork, why: Excess = Excess.TIMEOUT) -> str:
    outcome = outcome_of(why, work, plan, worker="w", random=lambda: 0.0)
    assert outcome.failure is not None
    assert outcome.failure.attempt == work.attempt
    return outcome.kind


RETRY: dict[str, Any] = {"retry": {"max_attempts": 2}}


@pytest.mark.parametrize(
    ("policies", "attempt", "kind"),
    [
        ({}, 1, "failed"),
        (RETRY, 1, "retry"),
        (RETRY, 2, "failed"),
        ({"retry": {"max_attempts": 2, "retry_on": ["ValueError"]}}, 1, "failed"),
        ({"retry": {"max_attempts": 2, "retry_on": ["NodeTimeoutError"]}}, 1, "retry"),
        ({"fallback": {"value": 1}}, 1, "deferred"),
        ({**RETRY, "fallback": {"value": 1}}, 1, "retry"),
        ({**RETRY, "fallback": {"value": 1}}, 2, "deferred"),
        ({"concurrency": 1}, 1, "deferred"),
        ({**RETRY, "circuit_breaker": {"failures": 1}}, 1, "deferred"),
        ({"cache": "1h"}, 1, "deferred"),
    ],
)
def test_what_has_a_say_in_a_failure_is_left_to_a_child(
    policies: dict[str, Any], attempt: int, kind: str
) -> None:
    plan = _plan(**policies)
    assert _kind(plan, _work(attempt)) == kind
    assert _kind(plan, _work(attempt), Excess.CANCELLED) == "cancelled"


@pytest.mark.parametrize(
    "policies", [{"fallback": {"value": 1}}, {"concurrency": 1}, {"circuit_breaker": {}}], ids=str
)
def test_an_attempt_is_deferred_once(policies: dict[str, Any]) -> None:
    edges = [{"from": "a", "to": "b", "when": "nodes.a.output == 1"}]
    for plan in (_plan(**policies), _plan(edges, **policies)):
        assert _kind(plan, _work()) == "deferred"
        assert _kind(plan, _work(deferred=True)) == "failed"
    assert _kind(_plan(**RETRY, **policies), _work(deferred=True)) == "retry"


@pytest.mark.parametrize("edges", [[], [{"from": "a", "to": "b", "when": "nodes.a.output == 1"}]])
@pytest.mark.parametrize("guard", [{}, {"concurrency": 1}, {"circuit_breaker": {}}], ids=str)
def test_a_fallback_that_was_called_is_not_called_again(
    guard: dict[str, Any], edges: list[dict[str, str]]
) -> None:
    plan = _plan(edges, **guard, **RETRY, fallback={"uses": "passthrough"})
    for deferred in (False, True):
        fallen = replace(_work(deferred=deferred), fallen=True)
        outcome = outcome_of(Excess.TIMEOUT, fallen, plan, worker="w", random=lambda: 0.0)
        assert outcome.failure is not None
        if guard or edges:
            assert outcome.kind == "deferred"
            assert outcome.failure.fallen
        else:
            assert outcome.kind == "failed"
            assert outcome.failure.fallen is None


def test_losses_and_earlier_lives_are_no_chances() -> None:
    assert _kind(_plan(**RETRY), _work(attempt=3, lost=1, before=1)) == "retry"
    assert _kind(_plan(**RETRY), _work(attempt=3, lost=1)) == "failed"


def test_conditions_of_edges_are_left_to_a_child() -> None:
    plan = _plan(edges=[{"from": "a", "to": "b", "when": "nodes.a.output == 1"}])
    assert _kind(plan, _work()) == "deferred"


def test_the_failure_says_what_the_child_would_have_said() -> None:
    outcome = outcome_of(Excess.TIMEOUT, _work(), _plan(), worker="w", random=lambda: 0.0)
    assert outcome.failure is not None
    known = replace(outcome.failure, traceback=None)
    assert (known.type, known.message) == ("NodeTimeoutError", "timed out after 2.00 s")
    assert (known.code, known.node, known.attempt, known.worker) == ("FC503", "a", 1, "w")
