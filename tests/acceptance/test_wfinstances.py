"""Recorded workflows run on the native engine: each node once, and after its parents.

The instances of WfCommons are used where they are found, else small ones made here. Times are
shown, and bound only so loosely that a busy machine does not matter.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowcore.assembly.session import Session
from flowcore.run.event import Event, EventType
from scripts import wfinstances
from scripts.wfinstances import check_order, least_makespan, measure, opened, table

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[2]
SLOTS = 32
CRITICAL_PATH = 1.0
GENEROUS = 60.0

OWN: Mapping[str, Mapping[str, Sequence[str]]] = {
    "chain": {f"c{n}": [f"c{n - 1}"] if n else [] for n in range(8)},
    "diamond": {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]},
    "fork-join": {
        "fork": [],
        **{f"w{n}": ["fork"] for n in range(20)},
        "join": [f"w{n}" for n in range(20)],
    },
}


def document(before: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    tasks = [{"id": key, "name": key, "parents": list(of)} for key, of in before.items()]
    runs = [{"id": key, "runtimeInSeconds": 1 + n % 3} for n, key in enumerate(before)]
    return {
        "name": "own",
        "schemaVersion": "1.5",
        "workflow": {"specification": {"tasks": tasks}, "execution": {"tasks": runs}},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get(wfinstances.VARIABLE)
    found = Path(given) if given else ROOT.parent / "shared" / "wfinstances"
    if any(found.glob("*.json")):
        return found
    own = tmp_path_factory.mktemp("wfinstances")
    for name, before in OWN.items():
        (own / f"{name}.json").write_text(json.dumps(document(before)))
    return own


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with opened(slots=SLOTS) as session:
        yield session


@pytest.mark.integration
@pytest.mark.slow
def test_every_node_of_every_instance_runs_once_and_after_its_parents(
    session: Session, folder: Path
) -> None:
    files = sorted(folder.glob("*.json"))
    measured = [measure(session, file, CRITICAL_PATH, slots=SLOTS) for file in files]
    print(table(measured))  # noqa: T201  (times are for people: see them with pytest -s)
    assert {one.file: one.problems for one in measured if one.problems} == {}
    assert [one.file for one in measured if one.makespan < 0.99 * one.best] == []
    assert [one.file for one in measured if one.makespan > GENEROUS] == []


def event(id: int, kind: EventType, *nodes: str) -> Event:
    return Event(id=id, type=kind, run="r", time=float(id), nodes=nodes)


STARTED, DONE, END = EventType.NODE_STARTED, EventType.NODE_SUCCEEDED, EventType.RUN_SUCCEEDED


def test_the_check_sees_what_is_wrong() -> None:
    before = {"a": [], "b": ["a"]}
    right = [(STARTED, "a"), (DONE, "a"), (STARTED, "b"), (DONE, "b")]
    early = [(STARTED, "a"), (STARTED, "b"), (DONE, "a"), (DONE, "b")]

    def check(*pairs: tuple[EventType, str], end: EventType = END) -> list[str]:
        events = [event(n, kind, node) for n, (kind, node) in enumerate(pairs, 1)]
        return check_order([*events, event(len(events) + 1, end)], before)

    assert check(*right) == []
    assert check(*early) == ["node 'b' started before 'a' had ended"]
    assert "node 'b' started 2 times" in check(*right, right[-2])[0]
    assert "node 'b' started 0 times" in check(*right[:2])[0]
    assert check(*right, end=EventType.RUN_FAILED) == ["the run ended with run.failed"]
    assert "the event log has gaps" in check_order([event(2, END)], {})
    assert check_order([], {}) == ["the run ended with nothing"]
    late = [event(n, kind, node) for n, (kind, node) in enumerate([*right, (END, "")], 1)]
    late[1] = replace(late[1], time=3.5)
    assert check_order(late, before) == ["node 'b' is said to have started before 'a' had ended"]


def test_the_least_makespan_knows_how_many_slots_there_are() -> None:
    seconds = dict.fromkeys(OWN["fork-join"], 1.0)
    assert least_makespan(seconds, OWN["fork-join"], slots=20) == 3.0
    assert least_makespan(seconds, OWN["fork-join"], slots=10) == 4.0
    assert least_makespan(seconds, OWN["fork-join"], slots=1) == 22.0
