"""Maps whose items come from a function, and begin while it still runs, on real Celery workers."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flowcore import Run
from flowcore.run.status import RunState
from tests.engine import Engine, poll

N = "structured_nodes:"


def _lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def _map(uses: str, source: str, *, with_: dict[str, Any] | None = None, **given: Any) -> Any:
    node = {"uses": N + uses, "for_each": {"uses": N + source, "with": given}}
    return {**node, "with": with_} if with_ else node


@pytest.mark.parametrize("source", ["give", "agive", "listed"])
@pytest.mark.parametrize("count", [1, 7, 2000])
def test_a_function_gives_a_map_its_items(engine: Engine, source: str, count: int) -> None:
    nodes = {
        "m": _map("double", source, count=count),
        "sum": {"uses": N + "total", "needs": ["m"]},
    }
    result = engine.run(nodes)
    assert result.outputs["m"] == [2 * n for n in range(count)]
    assert result.output == count * (count - 1)


def test_a_source_that_gives_nothing_is_an_empty_list(engine: Engine) -> None:
    assert engine.run({"m": _map("double", "give", count=0)}).output == []


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_items_begin_while_their_source_still_runs(
    engine: Engine, threaded: Engine, tmp_path: Path, pool: str
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    gate.touch()
    node = _map("busy", "give_gated", with_={"log": str(log)}, count=5, gate=str(gate))
    chosen = {"prefork": engine, "threads": threaded}[pool]
    handle = chosen.start({"m": node})
    poll(lambda: {"-0", "-1", "-2", "-3"} <= set(_lines(log)), what="all items but the last")
    assert handle.status() is RunState.RUNNING
    gate.unlink()
    assert handle.wait(60).output == [0, 1, 2, 3, 4]


def test_a_source_reads_what_its_node_reads_and_items_know_their_index(engine: Engine) -> None:
    nodes = {
        "n": {"uses": N + "echo", "with": {"value": 3}},
        "m": {
            "uses": N + "add",
            "needs": ["n"],
            "for_each": {"uses": N + "give", "with": {"count": "${{ n.output + inputs.more }}"}},
            "with": {"to": "${{ index * 100 + n.output }}"},
        },
    }
    assert engine.run(nodes, {"more": 1}).output == [3, 104, 205, 306]


def test_a_source_may_be_given_what_flows_into_its_node(engine: Engine) -> None:
    nodes = {
        "n": {"uses": N + "echo", "with": {"value": {"count": 3}}},
        "m": {"uses": N + "double", "needs": ["n"], "for_each": {"uses": N + "give"}},
    }
    assert engine.run(nodes).output == [0, 2, 4]


def test_items_of_a_source_come_in_chunks(engine: Engine) -> None:
    nodes = {"m": {**_map("total", "give", count=7), "chunk_size": 3}}
    assert engine.run(nodes).output == [3, 12, 6]


def test_items_of_a_source_keep_to_max_parallel(threaded: Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    node = _map("busy", "give", with_={"log": str(log)}, count=8)
    assert threaded.run({"m": {**node, "max_parallel": 2}}).output == list(range(8))
    at_once = 0
    for line in _lines(log):
        at_once += 1 if line[0] == "+" else -1
        assert at_once <= 2


def test_sub_flows_of_a_source_keep_to_max_parallel(engine: Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    inner = {"nodes": {"b": {"uses": N + "busy", "with": {"log": str(log)}}}}
    node = {
        "uses": "workflow",
        "flow": inner,
        "with": {"item": "${{ item }}"},
        "for_each": {"uses": N + "give", "with": {"count": 4}},
        "max_parallel": 1,
    }
    assert engine.run({"m": node}).output == [0, 1, 2, 3]
    assert [line[0] for line in _lines(log)] == ["+", "-"] * 4


def test_an_item_that_fails_fails_the_map_and_its_source_gives_no_more(
    engine: Engine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    node = _map("odd_fails", "give_gated", count=4, gate=str(gate))
    handle = engine.start({"m": node})
    poll(
        lambda: any(
            one.state is RunState.FAILED
            for one in Run.list(part_of=handle.id, session=engine.session)
        ),
        what="an item to fail",
    )
    gate.unlink()
    result = handle.wait(60)
    assert result.error == "node 'm[1]': ValueError: 1 is odd"


@pytest.mark.parametrize(("tolerated", "good"), [(3, True), ("50%", True), (2, False)])
def test_failures_are_counted_over_all_items_of_a_source(
    engine: Engine, tolerated: Any, good: bool
) -> None:
    node = {**_map("odd_fails", "give", count=6), "tolerated_failures": tolerated}
    result = engine.run({"m": node})
    assert result.success is good
    if good:
        assert result.output == [0, None, 2, None, 4, None]


def test_a_source_that_fails_is_tried_again_and_no_item_is_run_twice(
    engine: Engine, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    gate.touch()
    node = _map(
        "busy",
        "give_until_it_breaks",
        with_={"log": str(log), "seconds": 0},
        count=6,
        gate=str(gate),
        log=str(log),
    )
    node["for_each"]["retry"] = {"max_attempts": 50, "delay": "50ms", "backoff": "fixed"}
    handle = engine.start({"m": node})
    poll(lambda: Counter(_lines(log))["source"] >= 2, what="a second attempt")
    gate.unlink()
    assert handle.wait(60).output == list(range(6))
    counts = Counter(_lines(log))
    assert [counts[f"+{n}"] for n in range(6)] == [1] * 6


def test_a_source_that_fails_for_good_fails_its_node(engine: Engine, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    gate.touch()
    node = _map("double", "give_until_it_breaks", count=4, gate=str(gate), log=str(log))
    result = engine.run({"m": node})
    assert result.error == "node 'm': ConnectionError: the source broke"


def test_a_source_whose_worker_dies_is_begun_again_and_no_item_is_run_twice(
    engine: Engine, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    gate.touch()
    node = _map(
        "busy",
        "give_and_die",
        with_={"log": str(log), "seconds": 0},
        count=6,
        gate=str(gate),
        log=str(log),
    )
    assert engine.run({"m": node}).output == list(range(6))
    counts = Counter(_lines(log))
    assert counts["source"] == 2
    assert [counts[f"+{n}"] for n in range(6)] == [1] * 6


def test_a_run_that_is_resumed_runs_the_items_again_that_failed_and_not_their_source(
    engine: Engine, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "log"
    gate.touch()
    node = _map("fail_while", "give", with_={"path": str(gate), "log": str(log)}, count=4)
    node["for_each"]["with"]["log"] = str(log)
    handle = engine.start({"m": node}, config={"execution": {"fail_fast": False}})
    assert not handle.wait(60).success
    gate.unlink()
    handle.resume()
    result = handle.wait(60)
    assert result.output == [0, 1, 2, 3]
    counts = Counter(_lines(log))
    assert counts["source"] == 1
    assert (counts["0"], counts["2"]) == (1, 2)


def test_a_source_that_is_cancelled_stops_its_items(engine: Engine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    node = {**_map("double", "give_gated", count=3, gate=str(gate)), "uses": "approval"}
    handle = engine.start({"m": node})
    poll(lambda: Run.list(part_of=handle.id, session=engine.session), what="an item")
    handle.cancel()
    assert handle.wait(60).state is RunState.CANCELLED
    for one in Run.list(part_of=handle.id, session=engine.session):
        inner = Run.get(one.id, session=engine.session)
        assert inner.wait(60).state is RunState.CANCELLED


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("echo", "this one gave str"),
        ("until_gone", "this one gave nothing"),
    ],
)
def test_a_function_that_gives_no_items_is_refused_with_a_sentence(
    engine: Engine, source: str, said: str
) -> None:
    given: dict[str, Any] = {"value": "text"} if source == "echo" else {"path": "/nowhere/at/all"}
    error = engine.run({"m": _map("double", source, **given)}).error or ""
    assert said in error
    assert "a generator, or returns a list" in error
