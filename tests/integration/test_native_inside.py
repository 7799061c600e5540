"""Runs inside runs when things happen at once: ends, pauses, deaths, signals; on real workers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flowcore import Run
from flowcore.engine.runs import control
from flowcore.engine.runs import signals as answers
from flowcore.ports.store import RunReader
from flowcore.run.status import NodeState, RunState
from flowcore.stores.redis.runs.store import RedisStore
from tests.engine import Engine, poll
from tests.integration.conftest import MakeEngine

N = "structured_nodes:"


def _lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def _touched(*paths: Path) -> None:
    for path in paths:
        path.touch()


def _note(log: Path, what: str, *needs: str, **more: Any) -> dict[str, Any]:
    given = {"what": what, "log": str(log)}
    return {"uses": N + "note", "needs": list(needs), "with": given, **more}


def _is_waiting(engine: Engine, run: str, node: str = "w") -> bool:
    found = engine.session.runtime.reader.record(run)
    return found is not None and found.nodes[node].state is NodeState.WAITING


def _is_gone(one: str, look: Callable[[], list[str]]) -> bool:
    return one not in look()


# ── ends ────────────────────────────────────────────────────────────────────────────────────────


def test_the_end_of_a_cancelled_run_waits_for_the_items_of_a_source(
    engine: Engine, tmp_path: Path
) -> None:
    gate, hold, log = tmp_path / "gate", tmp_path / "hold", tmp_path / "log"
    _touched(gate, hold)
    source = {"uses": N + "give_gated", "with": {"count": 2, "gate": str(gate)}}
    node = {
        "uses": N + "hold",
        "with": {"path": str(hold), "log": str(log)},
        "for_each": source,
    }
    handle = engine.start({"m": node}, **{"finally": {"close": _note(log, "closed")}})
    poll(lambda: "holds" in _lines(log), what="an item to run")
    handle.cancel()
    gate.unlink()
    states = engine.session.runtime.reader.states
    poll(lambda: states(handle.id, [0])[0].is_terminal, what="the source to end")
    inner = Run(f"{handle.id}/m", session=engine.session)
    if not inner.status().is_terminal:
        assert handle.status() is RunState.STOPPING
    hold.unlink()
    assert handle.wait(60).state is RunState.CANCELLED
    assert inner.status().is_terminal
    assert _lines(log)[-1] == "closed"
    handle.resume()
    assert handle.wait(60).success, "it could be resumed as soon as it had ended"


def test_the_end_of_a_run_whose_source_broke_waits_for_the_items(
    engine: Engine, tmp_path: Path
) -> None:
    hold, log = tmp_path / "hold", tmp_path / "log"
    hold.touch()
    node = {
        "uses": N + "hold",
        "with": {"path": str(hold), "log": str(log)},
        "for_each": {"uses": N + "give_and_break", "with": {"log": str(log)}},
    }
    handle = engine.start({"m": node}, **{"finally": {"close": _note(log, "closed")}})
    inner = Run(f"{handle.id}/m", session=engine.session)
    poll(lambda: handle.status() is RunState.STOPPING, what="the source to break")
    assert handle.record().nodes["m"].state is NodeState.FAILED
    if not inner.status().is_terminal:
        assert not handle.status().is_terminal
    hold.unlink()
    assert "the source broke" in (handle.wait(60).error or "")
    assert inner.status().is_terminal
    assert _lines(log) == ["holds", "closed"]


def _ending(log: Path, hold: Path) -> dict[str, Any]:
    """A sub-flow that comes to its end, and stays there until a file is gone."""
    given = {"path": str(hold), "log": str(log)}
    close = {
        "close": {"uses": N + "hold", "with": given},
        "last": _note(log, "closed", "close"),
    }
    flow = {"nodes": {"a": {"uses": "passthrough"}}, "finally": close}
    return {"uses": "workflow", "flow": flow}


@pytest.mark.parametrize("how", ["cancelled", "late", "failed beside"])
def test_a_run_that_was_paused_does_not_hold_up_one_that_ends(
    engine: Engine, tmp_path: Path, how: str
) -> None:
    hold, beside, log = tmp_path / "hold", tmp_path / "beside", tmp_path / "log"
    _touched(hold, beside)
    nodes = {"s": _ending(log, hold)}
    more: dict[str, Any] = {}
    if how == "late":
        more = {"config": {"execution": {"timeout_seconds": 3}}}
    if how == "failed beside":
        nodes["bad"] = {"uses": N + "hold_and_fail", "with": {"path": str(beside)}}
    handle = engine.start(nodes, **more)
    poll(lambda: _lines(log) == ["holds"], what="the sub-flow's end")
    handle.pause()
    if how == "cancelled":
        handle.cancel()
    hold.unlink()
    beside.unlink()
    result = handle.wait(60)
    assert result.state is (RunState.CANCELLED if how == "cancelled" else RunState.FAILED)
    assert _lines(log) == ["holds", "closed"]
    assert Run(f"{handle.id}/s", session=engine.session).status().is_terminal


# ── pausing and resuming at once ────────────────────────────────────────────────────────────────


def test_who_resumes_while_another_still_pauses_lets_all_go_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = {"nodes": {"w": {"uses": "signal", "with": {"name": "go"}}}}
    handle = engine.start({"s": {"uses": "workflow", "flow": inner}})
    poll(lambda: _is_waiting(engine, f"{handle.id}/s"), what="the sub-flow to wait")
    real, resumed = control._open_children, list[RunState]()

    def then_resumes(reader: RunReader, run: str) -> list[str]:
        found = real(reader, run)
        if run == handle.id and not resumed:
            resumed.append(RunState.PENDING)
            resumed.append(handle.resume())
        return found

    monkeypatch.setattr(control, "_open_children", then_resumes)
    handle.pause()
    assert resumed[-1] is RunState.RUNNING
    handle.signal("go", x=1)
    assert handle.wait(60).success


def test_a_run_that_begins_while_the_one_around_it_is_resumed_goes_on(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    source = {"uses": N + "give_gated", "with": {"count": 1, "gate": str(gate)}}
    handle = engine.start({"m": {"uses": N + "double", "for_each": source}})
    reader = engine.session.runtime.reader
    poll(lambda: reader.states(handle.id, [0])[0] is NodeState.RUNNING, what="the source to run")
    handle.pause()
    real, began = control._open_children, list[str]()

    def then_begins(reader: RunReader, run: str) -> list[str]:
        found = real(reader, run)
        if run == handle.id and not began:
            began.append(run)
            gate.unlink()
            poll(lambda: reader.summary(f"{handle.id}/m"), what="the items to be there")
        return found

    monkeypatch.setattr(control, "_open_children", then_begins)
    handle.resume()
    assert handle.wait(60).output == [0]


# ── signals ─────────────────────────────────────────────────────────────────────────────────────


def test_a_signal_is_kept_if_who_waited_for_it_has_ended_meanwhile(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = {"name": "go", "timeout": "1s", "default": "late"}
    first = {"nodes": {"w": {"uses": "signal", "with": late}}}
    second = {"nodes": {"w": {"uses": "signal", "with": {"name": "go"}}}}
    handle = engine.start(
        {
            "a": {"uses": "workflow", "flow": first},
            "b": {"uses": "workflow", "flow": second, "needs": ["a"]},
        }
    )
    inner = Run(f"{handle.id}/a", session=engine.session)
    poll(lambda: _is_waiting(engine, inner.id), what="the first to wait")
    real = answers._give

    def slowly(store: Any, dispatcher: Any, run: str, *more: Any, **options: Any) -> Any:
        if run == inner.id:
            poll(lambda: inner.status().is_terminal, what="its time to be over")
        return real(store, dispatcher, run, *more, **options)

    monkeypatch.setattr(answers, "_give", slowly)
    handle.signal("go", n=1)
    result = handle.wait(60)
    assert result.outputs == {"a": "late", "b": {"n": 1}}


def test_a_signal_reaches_what_a_run_that_is_stopped_still_does(engine: Engine) -> None:
    ask = {"w": {"uses": "signal", "with": {"name": "go"}}}
    flow = {"nodes": {"a": {"uses": "passthrough"}}, "finally": ask}
    handle = engine.start({"s": {"uses": "workflow", "flow": flow}})
    poll(lambda: _is_waiting(engine, f"{handle.id}/s/finally"), what="the end to wait")
    assert handle.cancel() is RunState.STOPPING
    handle.signal("go")
    assert handle.wait(60).state is RunState.CANCELLED


# ── deaths ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Says where a worker is to die; see ``modules/dying.py``."""
    monkeypatch.setenv("DYING", str(tmp_path / "dying"))
    return tmp_path / "dying"


@contextmanager
def _dying(make_engine: MakeEngine, home: Path) -> Iterator[Engine]:
    with make_engine(home, heartbeat="0.25", lease="1") as engine:
        engine.workers(slots=2, include="dying")
        yield engine


def _saga(log: Path, gate: Path) -> dict[str, Any]:
    """A sub-flow that books, fails as long as a file exists, and undoes what it has booked."""
    undo = {"uses": N + "unbook", "with": {"log": str(log)}}
    bad = {
        "uses": N + "fail_while",
        "needs": ["flight"],
        "with": {"item": 2, "path": str(gate), "log": str(log)},
    }
    nodes = {"flight": _note(log, "flight", undo=undo), "last": bad}
    return {"uses": "workflow", "flow": {"nodes": nodes}}


@pytest.mark.parametrize("place", ["started /s", "seen /s"])
def test_the_death_of_a_worker_is_no_second_chance_for_what_has_failed(
    make_engine: MakeEngine, tmp_path: Path, mark: Path, place: str
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    gate.touch()
    mark.write_text(place)
    with _dying(make_engine, tmp_path) as engine:
        result = engine.run({"s": _saga(log, gate)})
    assert not mark.exists()
    assert result.error == "node 's/last': ConnectionError: not yet"
    assert _lines(log) == ["flight", "2", "undo flight"]


def test_a_sub_flow_that_is_begun_anew_is_so_once_though_a_worker_dies(
    make_engine: MakeEngine, tmp_path: Path, mark: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    gate.touch()
    mark.write_text("started /s@t2")
    retry = {"max_attempts": 3, "delay": "300ms", "backoff": "fixed"}
    with _dying(make_engine, tmp_path) as engine:
        handle = engine.start({"s": {**_saga(log, gate), "retry": retry}})
        poll(lambda: "undo flight" in _lines(log), what="the first to be undone")
        gate.unlink()
        assert handle.wait(60).success
    assert not mark.exists()
    assert _lines(log) == ["flight", "2", "undo flight", "flight", "2"]


# ── sources ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fail_fast", [True, False])
def test_a_flow_says_whether_a_source_runs_on_after_an_item_that_failed(
    engine: Engine, tmp_path: Path, *, fail_fast: bool
) -> None:
    log = tmp_path / "log"
    source = {"uses": N + "give_slowly", "with": {"count": 4, "log": str(log)}}
    node = {"uses": N + "log_or_fail", "with": {"log": str(log)}, "for_each": source}
    result = engine.run({"m": node}, config={"execution": {"fail_fast": fail_fast}})
    assert result.error == "node 'm[0]': ValueError: 1 is odd"
    assert fail_fast == (len(_lines(log)) < 4)


def test_items_of_a_source_that_wait_keep_to_max_parallel(engine: Engine) -> None:
    source = {"uses": N + "give", "with": {"count": 3}}
    handle = engine.start({"m": {"uses": "approval", "for_each": source, "max_parallel": 1}})

    def asked() -> list[str]:
        found = []
        for run in Run.list(part_of=handle.id, session=engine.session):
            for name, node in Run(run.id, session=engine.session).record().nodes.items():
                if node.state is NodeState.WAITING and "approval" in (node.waits or ""):
                    found.append(f"{run.id.removeprefix(handle.id + '/')}/{name[2:-1]}")
        return found

    for _ in range(3):
        poll(asked, what="an item to ask")
        (path,) = asked()
        run, _, item = path.rpartition("/")
        Run(f"{handle.id}/{run}", session=engine.session).approve(f"m[{item}]")
        poll(partial(_is_gone, path, asked), what="the answer to arrive")
    assert handle.wait(60).success


def test_a_map_whose_items_are_gone_fails_instead_of_giving_less(
    engine: Engine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    source = {"uses": N + "give_gated", "with": {"count": 3, "gate": str(gate)}}
    handle = engine.start({"m": {"uses": N + "double", "for_each": source}})
    runtime = engine.session.runtime
    first = f"{handle.id}/m"
    poll(lambda: runtime.reader.summary(first), what="the first items")
    poll(lambda: Run(first, session=engine.session).status().is_terminal, what="their end")
    store = runtime.store
    assert isinstance(store, RedisStore)
    for key in store.client.scan_iter(f"fc:{{{first}}}:*"):
        store.client.delete(key)  # as a server does that loses its last second
    store.client.hdel(f"fc:{{{handle.id}}}:kids", first)
    gate.unlink()
    assert "items from 0 on are gone" in (handle.wait(60).error or "")
