"""The logs of a run: of the runs inside it, by address, and with what nodes print."""

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

from flowcore import Run
from flowcore.cli.main import main
from tests.deep import count
from tests.engine import Engine
from tests.integration.conftest import MakeEngine

Logs: TypeAlias = Callable[..., list[dict[str, Any]]]
ITEM = {"uses": "print_nodes:item", "with": {"item": "${{ item }}"}}
MAP = {"m": {**ITEM, "for_each": [1, 2, 3]}}


@pytest.fixture(scope="module")
def printing(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with make_engine(tmp_path_factory.mktemp("printing"), capture_print="on") as engine:
        engine.workers(pool="threads", slots=4)
        yield engine


@pytest.fixture
def logs(
    printing: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Logs:
    monkeypatch.setenv("FLOWCORE_REDIS_URL", printing.session.runtime.redis_url)
    monkeypatch.setenv("FLOWCORE_HOME", str(printing.home))

    def read(*words: str) -> list[dict[str, Any]]:
        capsys.readouterr()
        assert main(["logs", *words, "-o", "jsonl"]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return read


def _messages(rows: list[dict[str, Any]]) -> list[str]:
    return [row["data"]["message"] for row in rows]


def _ended(engine: Engine, nodes: dict[str, Any], **more: Any) -> Run:
    run = engine.start(nodes, **more)
    run.wait(90)
    return run


def test_nodes_beside_each_other_each_log_what_they_print(printing: Engine, logs: Logs) -> None:
    lines = count(60, 2000)
    nodes = {
        f"n{at}": {
            "uses": f"print_nodes:{'count_later' if at % 2 else 'count'}",
            "with": {"name": f"n{at}", "lines": lines},
        }
        for at in range(8)
    }
    run = _ended(printing, nodes)
    assert run.wait(60).success
    for name in nodes:
        rows = logs(f"{run.id}/{name}")
        assert {row["nodes"][0] for row in rows} == {name}
        assert _messages(rows) == [f"{name} {at}" for at in range(lines)]
        assert {row["data"]["stream"] for row in rows} == {"stdout"}


def test_a_node_that_prints_much_loses_no_line(printing: Engine, logs: Logs) -> None:
    lines = count(3000, 100_000)
    run = _ended(
        printing, {"n": {"uses": "print_nodes:count", "with": {"name": "n", "lines": lines}}}
    )
    rows = logs(run.id)
    assert {row["type"] for row in rows} == {"node.log"}, "no gap"
    assert _messages(rows) == [f"n {at}" for at in range(lines)]


def test_text_bytes_long_lines_and_records_keep_their_order(printing: Engine, logs: Logs) -> None:
    run = _ended(printing, {"n": {"uses": "print_nodes:in_all_ways"}})
    found = _messages(logs(run.id))
    assert found[:3] == ["first", "second", "third \\xff"]
    assert [len(part) for part in found[3:6]] == [10_000, 10_000, 5_000]
    assert found[6:] == ["last \x1b[31m"]
    assert "from a thread of its own" in (printing.home / "worker-0.log").read_text()


def test_without_parameters_in_a_failure_and_in_its_place(printing: Engine, logs: Logs) -> None:
    run = _ended(printing, {"n": {"uses": "print_nodes:bare"}})
    assert _messages(logs(run.id)) == ["bare", "without an end"]
    assert _messages(logs(_ended(printing, {"n": {"uses": "print_nodes:fail_and_print"}}).id)) == [
        "about to fail"
    ]
    fallen = {"uses": "print_nodes:fail_and_print", "fallback": {"uses": "print_nodes:instead"}}
    run = _ended(printing, {"n": fallen})
    assert run.wait(60).success
    rows = [row for row in logs(run.id) if row["type"] == "node.log"]
    assert _messages(rows) == ["about to fail", "instead of ValueError"]


def test_a_flow_without_streaming_prints_to_the_worker(printing: Engine, logs: Logs) -> None:
    run = _ended(
        printing,
        {"n": {"uses": "print_nodes:count", "with": {"name": "quiet", "lines": 1}}},
        streaming={"enabled": False},
    )
    assert logs(run.id) == []
    assert "quiet 0" in (printing.home / "worker-0.log").read_text()


def test_the_logs_of_a_run_include_the_runs_inside_in_order_of_time(
    printing: Engine, logs: Logs
) -> None:
    inner = {"x": ITEM["uses"], "y": "print_nodes:bare"}
    nodes = {
        **MAP,
        "p": {
            "uses": "parallel",
            "branches": {
                "left": {"uses": inner["x"], "with": {"item": 7}},
                "right": {"uses": inner["y"]},
            },
        },
        "last": {"uses": ITEM["uses"], "with": {"item": 9}, "needs": ["m", "p"]},
    }
    run = _ended(printing, nodes)
    assert run.wait(60).success
    rows = logs(run.id)
    assert {(row["run_id"], row["nodes"][0]) for row in rows} == {
        *((f"{run.id}/m", f"m[{at}]") for at in range(3)),
        (f"{run.id}/p", "left"),
        (f"{run.id}/p", "right"),
        (run.id, "last"),
    }
    assert _messages(rows)[-2:] == ["item 9", "printed 9"]
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    followed = logs(run.id, "-f")
    assert sorted(map(str, followed)) == sorted(map(str, rows)), "of a run that has ended, too"


@pytest.mark.parametrize(
    ("address", "messages"),
    [
        ("m[1]", ["item 2", "printed 2"]),
        ("m/1", ["item 2", "printed 2"]),
        ("p/left", ["item 7", "printed 7"]),
        ("last", ["item 9", "printed 9"]),
    ],
)
def test_a_node_inside_has_an_address(
    printing: Engine,
    logs: Logs,
    capsys: pytest.CaptureFixture[str],
    address: str,
    messages: list[str],
) -> None:
    id = "addressed"
    branches = {"left": {"uses": ITEM["uses"], "with": {"item": 7}}}
    nodes = {
        **MAP,
        "p": {"uses": "parallel", "branches": branches},
        "last": {"uses": ITEM["uses"], "with": {"item": 9}},
    }
    assert _ended(printing, nodes, run_id=id).wait(60).success  # the same run each time
    assert _messages(logs(f"{id}/{address}")) == messages
    assert _messages(logs(id, "--node", address)) == messages
    name = "m[1]" if address == "m/1" else address.rpartition("/")[2]
    for view in ("inspect", "status"):
        capsys.readouterr()
        assert main([view, f"{id}/{address}", "-o", "json"]) == 0
        found = json.loads(capsys.readouterr().out)
        state = found["state"] if view == "inspect" else found["nodes"][name]["state"]
        assert state == "succeeded"
        assert found.get("node", name) == name


@pytest.mark.parametrize("address", ["addressed/nobody", "addressed/m[7]", "addressed/last/x"])
def test_an_address_that_leads_nowhere_is_not_found(
    printing: Engine,
    logs: Logs,
    capsys: pytest.CaptureFixture[str],
    address: str,
) -> None:
    _ended(printing, {**MAP, "last": {"uses": "passthrough"}}, run_id="elsewhere")
    capsys.readouterr()
    assert main(["logs", address.replace("addressed", "elsewhere")]) == 3
    assert "elsewhere" in capsys.readouterr().err
    assert main(["logs", "no-such-run/x"]) == 3
