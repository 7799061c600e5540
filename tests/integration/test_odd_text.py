"""Text that is none, and errors that are hard to ask: one execution, and the true error.

In a unit, as one message, as an item of a map, and in a sub-flow.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcore import Run
from tests.engine import Engine
from tests.integration.conftest import MakeEngine
from tests.integration.modules.odd_nodes import ERRORS, TEXTS


@pytest.fixture(scope="module")
def odd(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with make_engine(tmp_path_factory.mktemp("odd"), heartbeat="0.5") as engine:
        engine.workers()
        yield engine


def _message(node: dict[str, Any]) -> dict[str, Any]:
    return {"a": node}


def _unit(node: dict[str, Any]) -> dict[str, Any]:
    return {"first": {"uses": "engine_nodes:numbers"}, "a": {**node, "needs": ["first"]}}


def _item(node: dict[str, Any]) -> dict[str, Any]:
    return {"a": {**node, "for_each": "${{ [1] }}"}}


def _inside(node: dict[str, Any]) -> dict[str, Any]:
    return {"a": {"uses": "workflow", "flow": {"nodes": {"inner": node}}}}


WAYS = {"message": _message, "unit": _unit, "item": _item, "sub-flow": _inside}


def _one_failure(run: Run, log: Path, kind: str) -> str:
    assert not run.wait(60).success
    error = run.record().error
    assert error is not None
    assert log.read_text() == "ran\n", "one execution"
    assert error.type == kind, error
    assert len(error.message) < 12_000
    assert len(error.traceback or "") < 60_000
    (error.message + (error.traceback or "")).encode()
    return error.message


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ERRORS)
def test_an_odd_error_is_recorded_as_it_is_after_one_execution(
    odd: Engine, tmp_path: Path, kind: str, way: str
) -> None:
    log = tmp_path / "log"
    node = {"uses": "odd_nodes:fail", "with": {"kind": kind, "log": str(log)}}
    run = odd.start(WAYS[way](node))
    error = ERRORS[kind]()
    own = type(error).__module__ == "odd_nodes" or "tests.integration" in type(error).__module__
    name = type(error).__qualname__
    wanted = f"odd_nodes.{name}" if own else name
    if kind == "named":
        wanted = f"report-\N{REPLACEMENT CHARACTER}.csv.{name}"
    message = _one_failure(run, log, wanted)
    if kind == "surrogate":
        assert message == "cannot parse report-\N{REPLACEMENT CHARACTER}.csv"


@pytest.mark.parametrize("name", ["fail_in_odd_file", "fail_in_nowhere"])
def test_a_file_whose_name_is_no_text_is_shown_all_the_same(
    odd: Engine, tmp_path: Path, name: str
) -> None:
    log = tmp_path / "log"
    node = {"uses": f"odd_nodes:{name}", "with": {"log": str(log)}}
    message = _one_failure(odd.start({"a": node}), log, "ValueError")
    assert message.startswith("from ")


@pytest.mark.parametrize("way", WAYS)
def test_no_line_of_a_log_fails_the_work(odd: Engine, tmp_path: Path, way: str) -> None:
    log = tmp_path / "log"
    node = {"uses": "odd_nodes:speak", "with": {"log": str(log)}}
    run = odd.start(WAYS[way](node))
    result = run.wait(60)
    assert result.success, result.error
    assert log.read_text() == "ran\n"
    if way not in {"item", "sub-flow"}:
        texts = [event.data["message"] for event in run.events() if event.type == "node.log"]
        assert "file cannot parse report-\N{REPLACEMENT CHARACTER}.csv" in texts
        assert len(texts) == 2 * len(TEXTS) + 4
