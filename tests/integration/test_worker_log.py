"""What a worker's log says of runs at INFO: a line for each, and what went wrong."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine import Engine, poll, running_engine
from tests.services import running_valkey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with (
        running_valkey() as url,
        running_engine(url, tmp_path_factory.mktemp("log"), work_first="off") as engine,
    ):
        engine.workers()
        yield engine


def _lines(engine: Engine, run: str) -> list[str]:
    """The lines of the log that name a run, once its end is among them."""
    log: Path = engine.home / "worker-0.log"
    end = re.compile(rf"run {re.escape(run)} of .* (succeeded|failed|cancelled) after")
    poll(lambda: end.search(log.read_text()), what="the line of the run")
    return [line for line in log.read_text().splitlines() if run in line]


def test_a_run_that_succeeds_is_one_line(engine: Engine) -> None:
    nodes: dict[str, Any] = {f"n{k}": {"uses": "passthrough"} for k in range(5)}
    nodes["waits"] = {"uses": "wait", "with": {"for": "50ms"}}
    nodes["shy"] = {
        "uses": "engine_nodes:fail_until",
        "with": {"attempt": 2},
        "retry": {"max_attempts": 2, "delay": 0},
    }
    result = engine.run(nodes)
    assert result.success, result.error
    (line,) = _lines(engine, result.run_id)
    assert re.search(rf"run {result.run_id} of test succeeded after \d+\.\d\d s, 7 nodes$", line)


def test_a_run_that_fails_says_what_failed(engine: Engine) -> None:
    nodes = {"bad": {"uses": "engine_nodes:fail_until", "with": {"attempt": 9}}}
    result = engine.run(nodes)
    told = f"Task test.bad[{result.run_id}.bad] raised expected: NodeFailed("
    poll(lambda: any(told in line for line in _lines(engine, result.run_id)), what="the failure")
    lines = [line for line in _lines(engine, result.run_id) if told not in line]
    assert [line.partition(" s, ")[2] for line in lines] == ["1 node: node 'bad': ConnectionError"]
