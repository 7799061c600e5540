"""Recorded times of a workflow of the kind of WfInstances, run in units on real workers."""

from typing import Any

import pytest

from flowcore.celery.monitoring.unit_events import UnitTaskEvents
from flowcore.check.check import check
from flowcore.graph.load import load_tree
from flowcore.plan.compile import compile_plan
from flowcore.ports.store import Outcome
from scripts.wfinstances import check_order
from tests.engine import Engine

pytestmark = pytest.mark.integration


def _epigenomics(lanes: int, splits: int) -> dict[str, list[str]]:
    """The shape of Epigenomics: a split, chains of four beside each other, joins of joins."""
    before: dict[str, list[str]] = {}
    for lane in range(lanes):
        before[f"split{lane}"] = []
        for at in range(splits):
            last = f"split{lane}"
            for step in ("filter", "convert", "pack", "map"):
                before[f"{step}{lane}x{at}"] = [last]
                last = f"{step}{lane}x{at}"
        before[f"merge{lane}"] = [f"map{lane}x{at}" for at in range(splits)]
    before["merge"] = [f"merge{lane}" for lane in range(lanes)]
    before["index"] = ["merge"]
    before["pileup"] = ["index"]
    return before


def test_no_node_is_said_to_have_begun_before_its_parents_ended(engine: Engine) -> None:
    before = _epigenomics(4, 14)
    assert len(before) == 235
    nodes: dict[str, Any] = {
        id: {"uses": "engine_nodes:numbers", "needs": needs} for id, needs in before.items()
    }
    for _ in range(3):
        handle = engine.start(nodes)
        result = handle.wait(100)
        assert result.success, result.error
        assert check_order(list(handle.events()), before) == []
        early = [
            (id, one)
            for id, parents in before.items()
            for one in parents
            if (result.nodes[id].started or 0) < (result.nodes[one].finished or 0)
        ]
        assert early == []


class _Rows:
    """Where rows for monitors go."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, events: list[dict[str, Any]], *, hostname: str) -> None:
        self.sent += events


def test_rows_of_a_unit_for_monitors_follow_each_other() -> None:
    nodes = {f"n{at}": {"uses": "end", "needs": [f"n{at - 1}"] if at else []} for at in range(50)}
    plan = compile_plan(check(load_tree({"nodes": nodes})))
    rows: Any = _Rows()
    inline = UnitTaskEvents(rows, "r", plan, worker="w", queue="q")
    for node in range(50):
        inline.add(node, Outcome(kind="succeeded"), 0.5)  # as if its clock had been wrong
    inline.send()
    times = [
        (event["type"], event["timestamp"])
        for event in rows.sent
        if event["type"] in {"task-started", "task-succeeded"}
    ]
    assert [one for one, _ in times] == ["task-started", "task-succeeded"] * 50
    assert [at for _, at in times[1:]] == sorted(at for _, at in times[1:])
