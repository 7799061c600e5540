"""What is done at the end of runs, on real Celery workers: undoing, ``on_failure``, ``finally``."""

from pathlib import Path
from typing import Any

import pytest

from flowcore import Run
from flowcore.errors import RunStateError
from flowcore.run.status import NodeState, RunState
from tests.engine import Engine, poll

N = "structured_nodes:"


def _lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def _booking(log: Path, last: dict[str, Any]) -> dict[str, Any]:
    def book(what: str, *needs: str) -> dict[str, Any]:
        return {
            "uses": N + "note",
            "needs": list(needs),
            "with": {"what": what, "log": str(log)},
            "undo": {"uses": N + "unbook", "with": {"log": str(log)}},
        }

    return {"flight": book("flight"), "car": book("car", "flight"), "last": last}


def _notes(log: Path, text: str) -> dict[str, Any]:
    return {"uses": N + "note", "with": {"what": text, "log": str(log)}}


def test_what_has_succeeded_is_undone_in_reverse_order_when_the_run_fails(
    engine: Engine, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    nodes = _booking(log, {"uses": N + "fail", "needs": ["car"]})
    told = "${{ run.state }} in ${{ run.error.node }}: ${{ run.error.message }}"
    handle = engine.start(
        nodes,
        on_failure={"tell": _notes(log, told)},
        **{"finally": {"close": _notes(log, "closed, the car was ${{ car.output }}")}},
    )
    assert handle.wait(60).error == "node 'last': RuntimeError: no luck"
    assert _lines(log) == [
        *("flight", "car", "undo car", "undo flight"),
        *("failed in last: no luck", "closed, the car was car"),
    ]
    with pytest.raises(RunStateError, match="has undone what it did"):
        handle.resume()


def test_a_run_that_succeeds_undoes_nothing_and_runs_its_finally(
    engine: Engine, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    nodes = _booking(log, {**_notes(log, "last"), "needs": ["car"]})
    closing = {"finally": {"close": _notes(log, "closed ${{ run.state }}")}}
    result = engine.run(nodes, on_failure={"tell": _notes(log, "failed")}, **closing)
    assert (result.success, result.output) == (True, "last")
    assert _lines(log) == ["flight", "car", "last", "closed succeeded"]


def test_without_a_finally_nothing_is_run_at_the_end_of_a_run_that_succeeds(
    engine: Engine, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    result = engine.run(_booking(log, {**_notes(log, "last"), "needs": ["car"]}))
    assert result.nodes["finally"].state is NodeState.SKIPPED
    assert _lines(log) == ["flight", "car", "last"]


def test_a_run_that_is_cancelled_undoes_what_it_did_and_runs_its_finally(
    engine: Engine, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    nodes = _booking(log, {"uses": "wait", "needs": ["car"], "with": {"for": "1h"}})
    closing = {"finally": {"close": _notes(log, "closed ${{ run.state }}")}}
    handle = engine.start(nodes, on_failure={"tell": _notes(log, "failed")}, **closing)
    poll(lambda: handle.record().nodes["last"].state is NodeState.WAITING, what="the last node")
    handle.cancel()
    assert handle.wait(60).state is RunState.CANCELLED
    assert _lines(log) == ["flight", "car", "undo car", "undo flight", "closed cancelled"]


def test_a_finally_that_fails_fails_the_run(engine: Engine) -> None:
    nodes = {"a": {"uses": N + "echo", "with": {"value": 1}}}
    result = engine.run(nodes, **{"finally": {"close": {"uses": N + "fail"}}})
    assert result.error == "node 'finally/close': RuntimeError: no luck"


def test_a_run_that_has_failed_and_is_resumed_has_its_end_once_more(
    engine: Engine, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    gate.touch()
    given = {"item": 2, "path": str(gate), "log": str(log)}
    closing = {"finally": {"close": _notes(log, "closed ${{ run.state }}")}}
    handle = engine.start({"a": {"uses": N + "fail_while", "with": given}}, **closing)
    assert not handle.wait(60).success
    gate.unlink()
    handle.resume()
    assert handle.wait(60).success
    assert _lines(log) == ["2", "closed failed", "2", "closed succeeded"]


def _sub(log: Path, last: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A sub-flow that books, and then does something else."""
    return {"uses": "workflow", "flow": {"nodes": _booking(log, last)}, **more}


def _gated(gate: Path, log: Path, **more: Any) -> dict[str, Any]:
    given = {"item": 2, "path": str(gate), "log": str(log)}
    return {"uses": N + "fail_while", "needs": ["car"], "with": given, **more}


@pytest.mark.parametrize("how", ["retry", "resume"])
def test_a_sub_flow_that_has_undone_what_it_did_begins_anew(
    engine: Engine, tmp_path: Path, how: str
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    gate.touch()
    many = {"max_attempts": 50, "delay": "100ms", "backoff": "fixed"}
    node = _sub(log, _gated(gate, log), **({"retry": many} if how == "retry" else {}))
    handle = engine.start({"s": node})
    if how == "retry":
        poll(lambda: _lines(log).count("undo flight") >= 1, what="the first attempt to be undone")
    else:
        assert not handle.wait(60).success
    gate.unlink()
    if how == "resume":
        handle.resume()
    assert handle.wait(60).output == 2
    once = ["flight", "car", "2"]
    assert _lines(log)[-3:] == once
    assert _lines(log)[:5] == [*once, "undo car", "undo flight"]


def test_what_a_run_has_undone_is_not_taken_over_by_another(engine: Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    handle = engine.start(_booking(log, {"uses": N + "fail", "needs": ["car"]}))
    handle.wait(60)
    with pytest.raises(RunStateError, match=r"has undone what it did: .* 'flowcore rerun"):
        handle.rerun("last")


def test_a_rerun_leaves_what_it_has_taken_over_to_the_run_that_did_it(
    engine: Engine, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    handle = engine.start(_booking(log, _gated(gate, log)))
    assert handle.wait(60).success
    gate.touch()
    assert not handle.rerun("last").wait(60).success
    assert not handle.rerun("car").wait(60).success
    assert _lines(log) == ["flight", "car", "2", "2", "car", "2", "undo car"]


def test_a_failure_in_what_is_done_at_the_end_is_told_though_the_rest_of_it_is_done(
    engine: Engine, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    nodes = _booking(log, {"uses": N + "fail", "needs": ["car"]})
    nodes["car"]["undo"] = {"uses": N + "fail", "with": {"message": "no way back"}}
    handle = engine.start(nodes)
    result = handle.wait(60)
    assert result.error == "node 'last': RuntimeError: no luck"
    assert result.nodes["finally"].state is NodeState.FAILED
    assert result.nodes["finally"].error is not None
    assert "no way back" in result.nodes["finally"].error.message
    assert _lines(log) == ["flight", "car", "undo flight"]


def test_undoing_that_has_failed_can_go_on_after_the_run_has_ended(
    engine: Engine, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    gate.touch()
    nodes = _booking(log, {"uses": N + "fail", "needs": ["car"]})
    given = {"item": 2, "path": str(gate), "log": str(log)}
    nodes["flight"]["undo"] = {"uses": N + "fail_while", "with": given}
    handle = engine.start(nodes)
    assert not handle.wait(60).success
    with pytest.raises(RunStateError, match=f"'flowcore resume {handle.id}/finally'"):
        handle.resume()
    gate.unlink()
    closing = Run.get(f"{handle.id}/finally", session=engine.session)
    closing.resume()
    assert closing.wait(60).success
    assert _lines(log) == ["flight", "car", "undo car", "2", "2"]


def test_cancelling_a_run_that_undoes_what_it_did_does_not_stop_that(
    engine: Engine, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    gate.touch()
    nodes = _booking(log, {"uses": N + "fail", "needs": ["car"]})
    nodes["car"]["undo"] = {"uses": N + "until_gone", "with": {"path": str(gate)}}
    handle = engine.start(nodes, **{"finally": {"close": _notes(log, "closed")}})
    poll(lambda: Run.list(part_of=handle.id, session=engine.session), what="the end to have begun")
    assert handle.cancel() is RunState.RUNNING
    gate.unlink()
    assert handle.wait(60).state is RunState.FAILED
    assert _lines(log) == ["flight", "car", "undo flight", "closed"]


def test_a_run_that_is_cancelled_waits_for_what_it_has_started_before_its_own_end(
    engine: Engine, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    gate.touch()
    given = {"path": str(gate), "log": str(log)}
    last = {"uses": N + "hold", "needs": ["car"], "with": given}
    handle = engine.start({"s": _sub(log, last)}, **{"finally": {"close": _notes(log, "closed")}})
    inner = Run(f"{handle.id}/s", session=engine.session)
    poll(lambda: _lines(log) == ["flight", "car", "holds"], what="what the sub-flow books")
    assert handle.cancel() is RunState.STOPPING
    poll(lambda: inner.status() is RunState.STOPPING, what="the sub-flow to be told")
    assert handle.status() is RunState.STOPPING
    gate.unlink()
    assert handle.wait(60).state is RunState.CANCELLED
    assert inner.status() is RunState.CANCELLED
    assert _lines(log) == ["flight", "car", "holds", "undo car", "undo flight", "closed"]
    assert handle.record().nodes["s"].state is NodeState.CANCELLED


def test_a_failure_beside_a_sub_flow_waits_for_that_to_stop_before_anything_is_undone(
    engine: Engine, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    gate.touch()
    given = {"path": str(gate), "log": str(log)}
    last = {"uses": N + "hold", "needs": ["car"], "with": given}
    bad = {"uses": N + "fail_while", "with": {"item": 2, "path": str(gate), "log": str(log)}}
    nodes = {
        "s": _sub(log, last),
        "ready": {"uses": "signal", "with": {"name": "go"}},
        "bad": {**bad, "needs": ["ready"]},
    }
    handle = engine.start(nodes, on_failure={"tell": _notes(log, "told")})
    poll(lambda: _lines(log) == ["flight", "car", "holds"], what="what the sub-flow books")
    handle.signal("go")
    poll(lambda: "2" in _lines(log), what="the failure")
    inner = Run(f"{handle.id}/s", session=engine.session)
    poll(lambda: inner.status() is RunState.STOPPING, what="the sub-flow to be told")
    assert "told" not in _lines(log)
    gate.unlink()
    assert handle.wait(60).state is RunState.FAILED
    assert _lines(log) == ["flight", "car", "holds", "2", "undo car", "undo flight", "told"]
