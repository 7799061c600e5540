"""What people see: progress from hand-made events, tables, values, errors. No server."""

import subprocess
import sys
from typing import Any

import pytest
import typer
from rich.console import Console

from flowcore.assembly.settings import SettingsError
from flowcore.check.check import check
from flowcore.cli.commands.doctor import check_server
from flowcore.cli.exit_codes import ExitCode, explain
from flowcore.cli.follow import code_of, result_object
from flowcore.cli.live_view import Lines, Tree, choose, draw
from flowcore.cli.output import iso, paint, table, write
from flowcore.cli.run_state import Picture
from flowcore.errors import (
    BackendError,
    DefinitionError,
    FlowcoreError,
    NodeError,
    RunCancelledError,
    RunNotFoundError,
    ServiceError,
    StoreUnreachableError,
    UsageError,
    WaitTimeoutError,
)
from flowcore.graph.load import load_tree
from flowcore.json_text import json_value
from flowcore.plan.compile import compile_plan
from flowcore.plan.plan import Plan
from flowcore.ports.backend import ExecutionResult
from flowcore.run.event import Event, EventType
from flowcore.run.record import Failure, NodeRecord
from flowcore.run.status import NodeState, RunState

FAILURE = {"type": "ValueError", "message": "bad \x1b[31m luck"}


def plan_of(count: int) -> Plan:
    nodes: dict[str, Any] = {"n0": {"uses": "start"}}
    nodes |= {f"n{i}": {"uses": "passthrough", "needs": [f"n{i - 1}"]} for i in range(1, count)}
    return compile_plan(check(load_tree({"id": "flow", "nodes": nodes}), resolve=False))


def event(number: int, kind: EventType, *nodes: str, **data: Any) -> Event:
    attempt = data.pop("attempt", 1) if nodes else None
    return Event(
        id=number, type=kind, run="r", time=100.0 + number, nodes=nodes, attempt=attempt, data=data
    )


STORY = [
    event(1, EventType.RUN_CREATED),
    event(2, EventType.NODES_DISPATCHED, "n0"),
    event(3, EventType.RUN_STARTED),
    event(4, EventType.NODE_STARTED, "n0"),
    event(5, EventType.NODE_SUCCEEDED, "n0"),
    event(6, EventType.NODE_STARTED, "n1"),
    event(7, EventType.NODE_RETRYING, "n1", error=FAILURE, delay=1.5),
    event(8, EventType.NODE_STARTED, "n1", attempt=2),
]


def told(count: int = 3, story: list[Event] = STORY) -> Picture:
    picture = Picture("r", plan_of(count))
    picture.apply(story)
    return picture


def test_a_picture_counts_states_as_events_come() -> None:
    picture = told()
    assert picture.state == "running"
    assert picture.settled == 1
    assert +picture.counts == {
        NodeState.SUCCEEDED: 1,
        NodeState.RUNNING: 1,
        NodeState.PENDING: 1,
    }
    assert [record.id for record in picture.running()] == ["n1"]
    picture.apply([event(9, EventType.NODE_FAILED, "n1", error=FAILURE)])
    picture.apply([event(10, EventType.NODES_CANCELLED, "n2"), event(11, EventType.RUN_FAILED)])
    assert picture.running() == []
    assert [record.id for record in picture.failed()] == ["n1"]
    assert (picture.settled, picture.state) == (3, "failed")


def test_a_small_flow_is_drawn_as_a_tree() -> None:
    lines = draw(told(), now=110.0, rows=10).plain.split("\n")
    assert lines[0] == "flow  r  running  1/3  7.00 s"
    assert lines[1] == "  ✔ n0  1.00 s"
    assert lines[2] == r"    ● n1  2.00 s  try 2; ValueError: bad \u001b[31m luck"
    assert lines[3] == "      · n2"


def test_a_terminal_without_unicode_gets_ascii() -> None:
    assert "  + n0" in draw(told(), now=110.0, rows=10, unicode=False).plain


def test_a_large_flow_is_summed_up_with_what_runs() -> None:
    text = draw(told(1000), now=110.0, rows=10).plain
    assert "1/1000 nodes settled" in text
    assert "998 pending" in text
    assert "● n1" in text
    assert len(text.split("\n")) == 3


def test_nothing_a_node_says_reaches_the_terminal_raw() -> None:
    assert "\x1b" not in draw(told(), now=110.0, rows=10).plain


def test_lines_tell_each_node_of_a_small_flow(capsys: pytest.CaptureFixture[str]) -> None:
    picture = told()
    with Lines(picture) as lines:
        lines.show(STORY)
    shown = capsys.readouterr().err.splitlines()
    assert shown[0] == "n0: running"
    assert shown[1].startswith("n0: succeeded")
    assert shown[3].startswith("n1: retrying (ValueError: bad")
    assert shown[3].endswith("again in 1.50 s")
    assert shown[4] == "n1: running (attempt 2)"
    assert not any("\x1b" in line for line in shown)


def test_lines_tell_only_trouble_of_a_large_flow(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines(told(100)) as lines:
        lines.show(STORY)
    assert [line.split(" ")[1] for line in capsys.readouterr().err.splitlines()] == ["retrying"]


def test_the_tree_leaves_its_last_picture() -> None:
    console = Console(width=80, height=20, force_terminal=True, color_system=None, record=True)
    with Tree(told(), console) as tree:
        tree.show(STORY)
    assert "n0" in console.export_text()


def test_progress_is_silent_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with choose(told(), quiet=True) as progress:
        progress.show(STORY)
    assert capsys.readouterr().err == ""
    assert isinstance(choose(told(), quiet=False), Lines)


def test_values_become_json() -> None:
    value = {"b": b"\x00\xff", "f": float("nan"), 1: (1, 2), "n": None, "t": True}
    expected = {"b": "AP8=", "f": None, "1": [1, 2], "n": None, "t": True}
    assert json_value(value) == expected


def test_times_are_iso_8601_in_utc() -> None:
    assert iso(0.25) == "1970-01-01T00:00:00.250Z"
    assert iso(None) is None


def test_tables_are_aligned_and_never_cut() -> None:
    long = "x" * 300
    assert table(["A", "B"], [["1", long], ["22", "a\x1bb"]]).splitlines() == [
        "A   B",
        f"1   {long}",
        r"22  a\u001bb",
    ]


def test_colours_are_for_terminals_that_want_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    write(f"{paint('failed')} \x1b[31mforeign")
    assert capsys.readouterr().out == "\x1b[31mfailed\x1b[0m \\u001b[31mforeign"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("failed") == "failed"


def test_a_result_is_one_object() -> None:
    record = NodeRecord(
        id="a",
        state=NodeState.FAILED,
        attempts=2,
        started=0.0,
        finished=1.0,
        error=Failure(type="E", message="m", traceback="long"),
    )
    result = ExecutionResult(
        success=False, state=RunState.FAILED, run_id="r", duration=1.5, nodes={"a": record}
    )
    found = result_object(result)
    assert list(found) == ["run_id", "state", "duration_s", "error", "output", "outputs", "nodes"]
    assert found["nodes"]["a"] == {
        "state": "failed",
        "attempts": 2,
        "started": "1970-01-01T00:00:00.000Z",
        "finished": "1970-01-01T00:00:01.000Z",
        "error": {"type": "E", "message": "m"},
    }


def test_the_state_of_a_run_is_its_exit_code() -> None:
    assert code_of(RunState.SUCCEEDED) == 0
    assert code_of(RunState.FAILED) == 1
    assert code_of(RunState.CANCELLED) == 5


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DefinitionError(["one", "two"]), 2),
        (UsageError("x"), 2),
        (BackendError("x"), 2),
        (SettingsError(("x",)), 2),
        (typer.BadParameter("x"), 2),
        (RunNotFoundError("r"), 3),
        (StoreUnreachableError("x"), 4),
        (ServiceError("x"), 4),
        (RunCancelledError("x", run_id="r"), 5),
        (WaitTimeoutError("x", run_id="r"), 124),
        (NodeError("x"), 1),
        (FlowcoreError("x"), 1),
        (OSError(28, "No space left on device", "f"), 1),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_every_error_has_its_exit_code_and_no_traceback(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explain(error) == ExitCode(code)
    shown = capsys.readouterr().err
    assert shown
    assert "Traceback" not in shown


def test_an_unexpected_error_says_how_to_get_the_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    explain(ZeroDivisionError("x"))
    assert "--debug" in capsys.readouterr().err
    try:
        _ = 1 / 0
    except ZeroDivisionError as error:
        explain(error, debug=True)
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m flowcore.cli schema | head -1; echo ${{PIPESTATUS[0]}}"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert run.stdout == "{\n0\n"
    assert run.stderr == ""


def test_closed_standard_streams_are_no_error() -> None:
    command = f"{sys.executable} -m flowcore.cli schema >&- 2>&- <&-"
    assert subprocess.run(["bash", "-c", command], check=False).returncode == 0


@pytest.mark.parametrize(
    ("info", "check_name", "status"),
    [
        ({"redis_version": "6.2.7"}, "server", "fail"),
        ({"redis_version": "7.2.4", "valkey_version": "8.0"}, "server", "ok"),
        ({"cluster_enabled": 1}, "cluster", "fail"),
        ({"maxmemory_policy": "allkeys-lru"}, "eviction", "fail"),
        ({"maxmemory_policy": "volatile-ttl"}, "eviction", "warn"),
        ({"maxmemory_policy": "noeviction"}, "eviction", "ok"),
        ({"aof_enabled": 0}, "durability", "warn"),
        ({"aof_enabled": 1}, "durability", "ok"),
        ({"used_memory": 69, "maxmemory": 100}, "memory", "ok"),
        ({"used_memory": 71, "maxmemory": 100}, "memory", "warn"),
        ({"used_memory": 86, "maxmemory": 100}, "memory", "fail"),
        (
            {"used_memory": 86, "mem_not_counted_for_evict": 20, "maxmemory": 100},
            *("memory", "ok"),
        ),
        ({"used_memory": 90, "maxmemory": 0}, "memory", "ok"),
    ],
)
def test_doctor_judges_what_a_server_says(
    info: dict[str, Any], check_name: str, status: str
) -> None:
    found = {finding.check: finding for finding in check_server(info, where="here")}
    assert found[check_name].status == status
    assert bool(found[check_name].fix) == (
        status != "ok" and info != {"maxmemory_policy": "volatile-ttl"}
    )
