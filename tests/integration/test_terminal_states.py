"""Every state in every view, on a pty: what docs/reference/terminal.md says of each."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from flowcore import Run
from flowcore.engine.runs.submit import submit
from flowcore.plan.children import map_plan
from flowcore.ports.store import AttemptRef, Outcome, Suspension
from flowcore.run.record import Failure, Parent
from flowcore.run.status import NodeState, RunState
from tests.engine import Engine, poll
from tests.integration.conftest import MakeEngine
from tests.screens import Terminal

DOCS = Path(__file__).parents[2] / "docs/reference/terminal.md"
BOOM = Failure(type="ValueError", message="boom", node="n")
PLAIN = {"uses": "passthrough", "retry": {"max_attempts": 3}}
AFTER = {"z": {"uses": "end", "needs": ["n"]}}

#: One interpreter for all commands: to start each would take most of the time.
SCRIPT = """
import contextlib, json, sys
from flowcore.cli.main import main
for argv in json.loads(sys.argv[1]):
    print("$", *argv, flush=True)
    with contextlib.suppress(SystemExit):
        main(argv)
"""


class Drive:
    """Brings a run to a state, as a worker would, without one."""

    def __init__(self, engine: Engine, id: str, node: dict[str, Any] | None = None) -> None:
        self.store = engine.session.runtime.store
        self.id = id
        self.run = engine.start({"n": node or PLAIN, **AFTER}, run_id=id)

    def claim(self, attempt: int = 1, node: int = 0, run: str = "") -> "Drive":
        ticket = AttemptRef(run=run or self.id, node=node, attempt=attempt)
        assert self.store.claim(ticket, worker="w1") is not None
        return self

    def settle(
        self, kind: Any, attempt: int = 1, node: int = 0, run: str = "", **more: Any
    ) -> "Drive":
        ticket = AttemptRef(run=run or self.id, node=node, attempt=attempt)
        if kind == "succeeded":
            more["output"] = b"\xc0"
        assert self.store.settle(ticket, Outcome(kind=kind, **more)).accepted
        return self

    def swept(self) -> "Drive":
        """Do what the janitor of a worker does: a retry that is due is on its way."""

        def is_dispatched() -> bool:
            self.store.sweep()
            return self.run.record().nodes["n"].state is NodeState.DISPATCHED

        poll(is_dispatched, what="the next try to be due")
        return self

    def wait(self, **wait: Any) -> "Drive":
        return self.claim().settle("waiting", wait=Suspension(**wait))


Make: TypeAlias = Callable[[Engine, str], object]


def _items(engine: Engine, id: str) -> None:
    """A map whose run has four items, two of them done."""
    node = {"uses": "passthrough", "for_each": [1, 2, 3, 4]}
    drive = Drive(engine, id, node).claim()
    runtime = engine.session.runtime
    plan = drive.run.plan()
    body = plan.policy(0).body
    assert body is not None
    made = map_plan(plan, 0, body, 4)
    parent = Parent(run=id, node=0, name="n", attempt=1, chance=1)
    child = f"{id}/n"
    submit(
        runtime.store,
        runtime.dispatcher,
        made,
        input={"inputs": {}, "outer": {}, "items": [1, 2, 3, 4]},
        run_id=child,
        namespace="",
        parent=parent,
    )
    drive.settle("waiting", wait=Suspension(child=child, reason="runs 4 items"))
    for item in range(2):
        drive.claim(node=item, run=child).settle("succeeded", node=item, run=child)


NODES: dict[str, tuple[NodeState, Make]] = {
    "`pending`": (
        NodeState.PENDING,
        lambda e, id: e.start({"first": PLAIN, "n": {**PLAIN, "needs": ["first"]}}, run_id=id),
    ),
    "`held` (its run is paused)": (NodeState.HELD, lambda e, id: Drive(e, id).run.pause()),
    "`dispatched` (a message is on its way)": (NodeState.DISPATCHED, Drive),
    "`running`": (NodeState.RUNNING, lambda e, id: Drive(e, id).claim()),
    "`running`, a later try": (
        NodeState.RUNNING,
        lambda e, id: Drive(e, id).claim().settle("retry", failure=BOOM).swept().claim(2),
    ),
    "`retrying`": (
        NodeState.RETRYING,
        lambda e, id: Drive(e, id).claim().settle("retry", failure=BOOM, delay=400.0),
    ),
    "`waiting` for a time": (
        NodeState.WAITING,
        lambda e, id: Drive(e, id).wait(seconds=540.0, reason="waits for 9.00 m"),
    ),
    "`waiting` for an approval": (
        NodeState.WAITING,
        lambda e, id: Drive(e, id, {"uses": "approval"}).wait(
            signal="n", reason="waits for may I?"
        ),
    ),
    "`waiting` for a signal": (
        NodeState.WAITING,
        lambda e, id: Drive(e, id, {"uses": "signal", "with": {"name": "go"}}).wait(
            signal="go", seconds=299.0, reason="waits for the signal 'go'"
        ),
    ),
    "`waiting` for its items": (NodeState.WAITING, _items),
    "`waiting` for a limit": (
        NodeState.WAITING,
        lambda e, id: Drive(e, id).wait(
            seconds=300.0, resumes=False, reason="waits for the limit gpu"
        ),
    ),
    "`succeeded`": (NodeState.SUCCEEDED, lambda e, id: Drive(e, id).claim().settle("succeeded")),
    "`failed`": (
        NodeState.FAILED,
        lambda e, id: Drive(e, id).claim().settle("failed", failure=BOOM),
    ),
    "`skipped`": (NodeState.SKIPPED, lambda e, id: Drive(e, id).claim().settle("skipped")),
    "`cancelled`": (NodeState.CANCELLED, lambda e, id: Drive(e, id).run.cancel()),
}


def _whole(engine: Engine, id: str) -> None:
    Drive(engine, id).claim().settle("succeeded").claim(node=1).settle("succeeded", node=1)


RUNS: dict[RunState, Make] = {
    RunState.PENDING: Drive,
    RunState.RUNNING: lambda e, id: Drive(e, id).claim(),
    RunState.PAUSED: lambda e, id: Drive(e, id).run.pause(),
    RunState.STOPPING: lambda e, id: Drive(e, id).claim().run.cancel(),
    RunState.SUCCEEDED: _whole,
    RunState.FAILED: lambda e, id: Drive(e, id).claim().settle("failed", failure=BOOM),
    RunState.CANCELLED: lambda e, id: Drive(e, id).run.cancel(),
}


def _table(title: str) -> list[list[str]]:
    """The rows of a table of the page."""
    part = DOCS.read_text("utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def _matches(cell: str, shown: str) -> bool:
    """Whether a screen shows what a cell of a table says, with any words for each ``…``."""
    parts = map(re.escape, cell.strip("`").split("…"))
    pattern = re.sub(r"(\\ )+", r"\\s+", r".*".join(parts))
    return re.search(rf"(?:^|\s){pattern}", shown, re.MULTILINE) is not None


@pytest.fixture(scope="module")
def silent(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine without a worker: nothing changes but by the test."""
    with make_engine(tmp_path_factory.mktemp("silent"), lease="600", heartbeat="10") as engine:
        yield engine


def screens(engine: Engine, commands: list[list[str]], **env: str) -> list[str]:
    """What each command leaves on a terminal."""
    given = {**engine.session.worker_env([]), "LANG": "C.UTF-8", **env}
    command = [sys.executable, "-c", SCRIPT, json.dumps(commands)]
    terminal = Terminal(command, env=given, size=(120, 60))
    try:
        assert terminal.end(within=110) == 0, terminal.screen.text()
    finally:
        terminal.kill()
    return re.split(r"^\$ .*$", terminal.screen.text(), flags=re.MULTILINE)[1:]


def test_the_tables_have_a_row_for_every_state() -> None:
    assert {state for state, _ in NODES.values()} == set(NodeState)
    assert [row[0] for row in _table("Nodes")] == list(NODES)
    assert set(RUNS) == set(RunState)
    assert [row[0] for row in _table("Runs")] == [f"`{state.value}`" for state in RUNS]


def test_every_state_of_a_node_is_in_every_view(silent: Engine) -> None:
    wanted: list[tuple[str, str]] = []
    commands: list[list[str]] = []
    for number, (_, live, table, alone) in enumerate(_table("Nodes")):
        id = f"node{number}"
        state, make = list(NODES.values())[number]
        make(silent, id)
        assert Run.get(id, session=silent.session).record().nodes["n"].state is state
        views = {
            f"watch {id} --timeout 200ms": live,
            f"status {id}": table,
            f"inspect {id}": table,
            f"graph {id}": table,
            f"inspect {id} --node n": alone,
            f"logs {id}": "",
        }
        wanted += views.items()
        commands += [words.split() for words in views]
    shown = screens(silent, commands)
    assert len(shown) == len(wanted)
    for (words, cell), screen in zip(wanted, shown, strict=True):
        assert "Traceback" not in screen, (words, screen)
        assert "bug in flowcore" not in screen, (words, screen)
        assert _matches(cell, screen), f"{words} does not show {cell!r}:\n{screen}"
    asks = f"flowcore approve node{list(NODES).index('`waiting` for an approval')} n"
    assert sum(f"answer: {asks}" in screen for screen in shown) == 1, "the picture"
    assert sum(f"next: {asks}" in screen for screen in shown) >= 2, "status and inspect"


def test_every_state_of_a_run_is_in_every_view(silent: Engine) -> None:
    wanted: list[tuple[str, str]] = []
    for name, live, table, row, next_ in _table("Runs"):
        id = f"run-{name.strip('`')}"
        state = RunState(name.strip("`"))
        RUNS[state](silent, id)
        assert Run.get(id, session=silent.session).status() is state
        cells = {
            f"watch {id} --timeout 200ms": live,
            **{f"{view} {id}": table for view in ("status", "inspect", "graph")},
            f"status {id} --absolute": next_,
            f"list --state {state.value} --limit 90": row,
        }
        wanted += [(words, re.sub(r"\bx\b", id, cell)) for words, cell in cells.items()]
    shown = screens(silent, [words.split() for words, _ in wanted])
    for (words, cell), screen in zip(wanted, shown, strict=True):
        assert _matches(cell, screen), f"{words} does not show {cell!r}:\n{screen}"


def test_a_terminal_without_unicode_gets_signs_in_ascii(silent: Engine) -> None:
    Drive(silent, "ascii").claim()
    (shown,) = screens(silent, [["watch", "ascii", "--timeout", "200ms"]], LC_ALL="C")
    assert "* n  " in shown
    assert shown.isascii(), ascii(shown)
