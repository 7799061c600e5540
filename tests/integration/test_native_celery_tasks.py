"""Celery tasks as nodes: on their own workers, which know nothing of flowcore."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flowcore import Flow, Run
from flowcore.cli.main import main
from flowcore.run.status import NodeState
from tests.engine import MODULES, Engine, poll, running_engine
from tests.services import running_valkey


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine, and a plain Celery worker of another app on the same broker."""
    home = tmp_path_factory.mktemp("shop")
    with running_valkey() as url, running_engine(url, home, heartbeat="0.25") as engine:
        engine.workers()
        broker = url.replace("unix://", "redis+socket://")
        environ = {
            **os.environ,
            "SHOP_BROKER": broker,
            "PYTHONPATH": str(MODULES),
        }
        log = (home / "shop.log").open("w")
        argv = [sys.executable, "-m", "celery", "-A", "shop_tasks", "worker", "-Q", "shop,celery"]
        argv += ["-c", "2", "-l", "INFO", "--without-gossip", "--without-mingle"]
        worker = subprocess.Popen(argv, env=environ, stdout=log, stderr=log, cwd=home)
        try:
            text = home / "shop.log"
            poll(lambda: " ready." in text.read_text(), what="the shop's worker")
            yield engine
        finally:
            children = psutil.Process(worker.pid).children(recursive=True)
            worker.terminate()
            worker.wait(30)
            psutil.wait_procs(children, timeout=30)
            log.close()


def _task(name: str, given: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    node = {"uses": f"celery:shop.{name}", "queue": "shop", **more}
    return {**node, "with": given} if given else node


def test_a_task_is_given_its_arguments_by_name_by_place_or_what_flows_in(shop: Engine) -> None:
    nodes = {
        "by_name": _task("add", {"x": 1, "y": "${{ inputs.y }}"}),
        "by_place": _task("add", {"args": ["${{ by_name.output }}", 10]}, needs=["by_name"]),
        "both": _task("add", {"args": [1], "kwargs": {"y": 2}}),
        "list": {"uses": "passthrough", "needs": ["by_place", "both"]},
        "numbers": {
            "uses": "structured_nodes:echo",
            "needs": ["by_place", "both"],
            "with": {"value": ["${{ by_place.output }}", "${{ both.output }}"]},
        },
        "total": _task("total", needs=["numbers"]),
    }
    result = shop.run(nodes, {"y": 5})
    assert result.error is None
    names = ("by_name", "by_place", "both", "total")
    assert [result.outputs[name] for name in names] == [6, 16, 3, 19]


def test_a_map_sends_a_task_for_each_item(shop: Engine) -> None:
    nodes = {
        "m": _task("add", {"x": "${{ item }}", "y": 1}, for_each=list(range(20))),
    }
    assert shop.run(nodes).output == [n + 1 for n in range(20)]


def test_a_result_beyond_json_becomes_what_the_table_of_values_says(shop: Engine) -> None:
    assert shop.run({"p": _task("price")}).output == "1.5"


def test_a_task_that_fails_fails_its_node(shop: Engine) -> None:
    error = shop.run({"f": _task("fail")}).error
    assert error is not None
    assert error.startswith("node 'f': CeleryTaskError: shop.fail: ")


def test_the_nodes_retry_sends_a_failed_task_again(shop: Engine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    retry = {"max_attempts": 100, "delay": "50ms", "backoff": "fixed"}
    handle = shop.start({"f": _task("fail_while", {"path": str(gate)}, retry=retry)})
    poll(lambda: handle.record().nodes["f"].attempts >= 2, what="a second attempt")
    gate.unlink()
    assert handle.wait(60).output == "went"


def test_a_task_that_takes_too_long_fails_its_node_and_holds_no_slot_of_ours(
    shop: Engine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    handle = shop.start({"s": _task("sleepy", {"path": str(gate)}, timeout="700ms")})
    poll(lambda: handle.record().nodes["s"].state is NodeState.WAITING, what="the node to wait")
    try:
        assert handle.wait(60).error == (
            "node 's': NodeTimeoutError: the Celery task shop.sleepy has not ended within 700 ms"
        )
    finally:
        gate.unlink()


@pytest.mark.parametrize("how", ["cancel", "inside", "timeout"])
def test_a_task_that_nobody_waits_for_any_more_does_not_begin(
    shop: Engine, tmp_path: Path, how: str
) -> None:
    gate, signed = tmp_path / "gate", tmp_path / "signed"
    gate.touch()
    busy = shop.start(
        {name: _task("sleepy", {"path": str(gate)}) for name in ("a", "b")}  # both of its slots
    )
    try:
        poll(lambda: gate_watchers(shop) >= 2, what="the shop to be busy")
        late = _task("sign", {"path": str(signed)})
        if how == "timeout":
            late["timeout"] = "300ms"
        flow = {"nodes": {"s": late}}
        nodes = {"s": late} if how != "inside" else {"in": {"uses": "workflow", "flow": flow}}
        handle = shop.start(nodes)
        inner = handle if how != "inside" else Run(f"{handle.id}/in", session=shop.session)
        poll(lambda: _state(shop, inner.id, "s") is NodeState.WAITING, what="the node to wait")
        if how != "timeout":
            handle.cancel()
        assert not handle.wait(60).success
        inner.wait(60)
        id = f"{inner.id}.0.1"
        log = shop.home / "shop.log"
        poll(lambda: f"Tasks flagged as revoked: {id}" in log.read_text(), what="the revocation")
    finally:
        gate.unlink()
    assert busy.wait(60).success
    assert shop.run({"after": _task("add", {"x": 1, "y": 1})}).output == 2
    assert not signed.exists()


def gate_watchers(shop: Engine) -> int:
    """How many tasks the shop's worker runs."""
    active = shop.session.runtime.app.control.inspect(timeout=1).active() or {}
    return sum(task["name"] == "shop.sleepy" for tasks in active.values() for task in tasks)


def _state(shop: Engine, run: str, node: str) -> NodeState | None:
    found = shop.session.runtime.reader.record(run)
    return found.nodes[node].state if found is not None else None


def test_an_answer_that_somebody_else_makes_up_is_refused(shop: Engine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    handle = shop.start({"s": _task("sleepy", {"path": str(gate)})})
    poll(lambda: handle.record().nodes["s"].state is NodeState.WAITING, what="the node to wait")
    runtime = shop.session.runtime
    forged = {"run": handle.id, "node": 0, "attempt": 1}
    for signature in ({}, {"sig": "00" * 16}, {"sig": 7}, {"sig": "zz"}):
        runtime.app.send_task(
            "flowcore.task_done",
            args=("forged",),
            kwargs={**forged, **signature},
            queue=runtime.default_queue,
        )
    assert shop.run({"a": {"uses": "structured_nodes:echo", "with": {"value": 1}}}).success
    assert handle.record().nodes["s"].state is NodeState.WAITING
    gate.unlink()
    result = handle.wait(60)
    assert (result.success, result.output) == (True, None)


def test_an_existing_canvas_becomes_a_flow_that_comes_to_the_same(
    shop: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(MODULES))
    file = tmp_path / "nightly.yaml"
    assert main(["import", "canvas", "shop_tasks:nightly", "-O", str(file)]) == 0
    assert "next: flowcore run" in capsys.readouterr().err
    flow = Flow.load(file)
    plan = flow.plan()
    assert set(plan.ids) == {"add", "add-2", "add-3", "total", "add-4", "add-4-wait"}
    result = flow.run(session=shop.session, timeout=60)
    assert result.error is None
    assert result.outputs["total"] == (1 + 2 + 10) + (1 + 2 + 20)
    assert result.output == 101


def test_a_canvas_with_what_a_flow_has_not_is_refused_with_every_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(MODULES))
    assert main(["import", "canvas", "shop_tasks:lonely"]) == 2
    assert "shop.add: a flow has no 'link_error'" in capsys.readouterr().err
    assert main(["import", "canvas", "shop_tasks:nothing"]) == 2
    assert "shop_tasks:nothing names nothing" in capsys.readouterr().err
