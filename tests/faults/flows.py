"""Flows of the campaign, and what each comes to without any fault.

In: a seeded dice. Out: cases. Not here: what happened to them (ledger, judging).
"""

import random
from typing import Any

from flowcore.client.flow import Flow
from flowcore.plan.plan import Plan
from tests.faults.cases import Case
from tests.faults.nodes import mixed
from tests.reference import Expected, interpret

__all__ = ["big_case", "hog_case", "poison_case", "probe_case", "random_case"]

RULES = ["all_success"] * 4 + ["all_done", "any_success", "none_failed"]

_WORK = "tests.faults.nodes:work"
_RETRY = {"max_attempts": 3, "delay": 0.1, "backoff": "fixed", "retry_on": ["ConnectionError"]}


def random_case(dice: random.Random, index: int) -> Case:
    """A random DAG with conditions, joins, retries, failures and events, in topological order."""
    nodes: dict[str, Any] = {}
    conditions: set[tuple[str, str]] = set()
    attempts: dict[str, int] = {}
    for at in range(dice.randint(3, 14)):
        name = f"v{at}"
        before = [
            f"v{source}" for source in sorted(dice.sample(range(at), min(at, dice.randint(0, 3))))
        ]
        given: dict[str, Any] = {
            "salt": dice.randint(0, 999),
            "seconds": round(dice.uniform(0.02, 0.25), 3),
        }
        node: dict[str, Any] = {
            "uses": _WORK,
            "needs": before,
            "join": dice.choice(RULES),
            "with": given,
        }
        if dice.random() < 0.07:
            given["bad"] = True
        elif dice.random() < 0.12:
            given["flaky"] = True
            node["retry"] = _RETRY
            attempts[name] = 3
        if dice.random() < 0.3:
            given["tells"] = dice.randint(1, 3)
        conditions |= {(source, name) for source in before if dice.random() < 0.1}
        nodes[name] = node
    edges = [
        {"from": source, "to": target, "when": f"{source}.output.value % 2 == 0"}
        for source, target in sorted(conditions)
    ]

    def live(source: str, target: str, output: Any) -> bool:
        return (source, target) not in conditions or output["value"] % 2 == 0

    expected = interpret(nodes, mixed, live)
    return Case(plan=_plan(f"fault{index}", nodes, edges), expected=expected, attempts=attempts)


def probe_case(queues: list[str]) -> Case:
    """One node on each of these queues: do all workers consume?"""
    nodes: dict[str, Any] = {
        f"on_{queue}": {
            "uses": _WORK,
            "needs": [],
            "join": "all_success",
            "queue": queue,
            "with": {"salt": 1, "seconds": 0.0},
        }
        for queue in queues
    }
    return Case(plan=_plan("probe", nodes), expected=interpret(nodes, mixed, lambda *_: True))


def poison_case(max_lost: int) -> Case:
    """A node that kills its process each time: a dead letter after ``max_lost`` losses."""
    expected = Expected(states={"poison": "failed"}, state="failed")
    return Case(
        plan=_plan("poison", {"poison": {"uses": "tests.faults.nodes:poison"}}),
        expected=expected,
        error="WorkerLostError",
        attempts_exactly=max_lost + 1,
    )


def big_case() -> Case:
    """An output of 20 MB, which is too much."""
    expected = Expected(states={"big": "failed"}, state="failed")
    nodes = {"big": {"uses": "tests.faults.nodes:big"}}
    return Case(plan=_plan("big", nodes), expected=expected, error="PayloadTooLargeError")


def hog_case() -> Case:
    """A node that needs memory and tries again for as long as it gets none."""
    retry = {"max_attempts": 200, "delay": 0.1, "backoff": "fixed", "retry_on": ["MemoryError"]}
    expected = Expected(states={"hog": "succeeded"}, outputs={"hog": 256 * 2**20})
    nodes = {"hog": {"uses": "tests.faults.nodes:hog", "retry": retry}}
    return Case(plan=_plan("hog", nodes), expected=expected, attempts={"hog": 200})


def _plan(name: str, nodes: dict[str, Any], edges: list[dict[str, str]] | None = None) -> Plan:
    tree = {
        "id": name,
        "nodes": nodes,
        "edges": edges or [],
        "config": {"execution": {"fail_fast": False}},
    }
    return Flow.load(tree).plan()
