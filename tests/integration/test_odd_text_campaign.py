"""Random text in every way of running: one execution, the true end, nothing raw on a terminal.

As a message, as the node of an a2a run, in a run inside a run, in a canvas of Celery's, and to an
agent. ``FLOWCORE_DEEP=1`` tries 1,000 texts, in all the ways.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import TimeoutError as CeleryTimeoutError

from flowcore import Flow, TaskState
from flowcore.backends.a2a import A2ABackend
from flowcore.client.agents import AgentClient
from flowcore.client.flow import start_run
from flowcore.run.text import to_utf8
from tests.deep import count
from tests.engine import Engine
from tests.integration.conftest import MakeEngine
from tests.integration.modules.odd_tellers import ENDS, RARE, odd_text
from tests.integration.test_terminal_output import _on_terminal

pytestmark = [pytest.mark.integration, pytest.mark.timeout(count(300, 3600))]

PATIENCE = 120.0
SEED = 69
NODE = "odd_tellers:tell"


@pytest.fixture(scope="module")
def told(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A worker for nodes that hosts an agent, and one that hosts the nodes of a2a runs."""
    with make_engine(tmp_path_factory.mktemp("told"), agents="odd_tellers") as engine:
        engine.workers()
        engine.workers(pool="threads", slots=2, queues="a2a-nodes")
        yield engine


@dataclass(frozen=True)
class _End:
    """The end of one execution: what was returned, or the words of its failure."""

    output: Any = None
    failure: str | None = None


def _end_of(run: Any, *inside: str) -> _End:
    result = run.wait(PATIENCE)
    if result.success:
        output = result.outputs["a"]
        return _End(output[0] if inside else output)
    assert result.nodes["a"].attempts == 1
    error = run.record().error
    (error.message + (error.traceback or "") + error.type).encode()
    return _End(failure=f"{error.type}: {error.message}")


def _message(engine: Engine, given: Any, id: str) -> _End:
    return _end_of(engine.start({"a": {"uses": NODE, "with": {"given": given}}}, run_id=id))


def _a2a(engine: Engine, given: Any, id: str) -> _End:
    nodes = {"a": {"uses": NODE, "with": {"given": given}}}
    plan = A2ABackend().create_workflow({"id": "odd", "nodes": nodes}).flow.plan()
    return _end_of(start_run(engine.session, plan, None, id=id))


def _inside(engine: Engine, given: Any, id: str) -> _End:
    inner = {"nodes": {"b": {"uses": NODE, "with": {"given": "${{ inputs.given }}"}}}}
    node = {"uses": "workflow", "flow": inner, "with": {"given": given}, "for_each": [1]}
    return _end_of(engine.start({"a": node}, run_id=id), "[0]")


def _canvas(engine: Engine, given: Any, id: str) -> _End:
    flow = Flow.load({"id": id, "nodes": {"a": {"uses": NODE, "with": {"given": given}}}})
    canvas = flow.to_canvas({}, session=engine.session)
    sent = canvas.apply_async(queue=engine.session.runtime.default_queue)
    try:
        return _End(sent.get(timeout=PATIENCE))
    except CeleryTimeoutError:
        raise
    except Exception as error:  # noqa: BLE001  (whatever Celery makes of it)
        return _End(failure=str(error))


def _agent(engine: Engine, given: Any, id: str) -> _End:
    client = AgentClient(engine.session)
    task = client.start("teller", given, message_id=id)
    list(client.follow(task, timeout=PATIENCE))
    found = client.get(task)
    if found.state is TaskState.COMPLETED:
        return _End(found.data)
    assert found.state is TaskState.FAILED
    found.reason.encode()
    return _End(failure=found.reason)


WAYS: dict[str, Callable[[Engine, Any, str], _End]] = {
    "message": _message,
    "a2a": _a2a,
    "inside": _inside,
    "canvas": _canvas,
    "agent": _agent,
}


def _try(engine: Engine, way: str, seed: int, log: Path) -> None:
    ends = random.Random(SEED + seed).choice(ENDS)
    said, made = odd_text(seed, made=False), odd_text(seed, made=True)
    given = {"seed": seed, "said": said, "ends": ends, "log": str(log)}
    end = WAYS[way](engine, given, f"{way}-{seed}")
    assert log.read_text() == "ran\n", f"one execution: {way} {seed}"
    if ends != "give":
        assert end.failure, f"{way} {seed}"
        # In a canvas it is Celery that keeps the error, as it was raised.
        assert way == "canvas" or len(end.failure) < 100_000
        assert "came as it was sent" not in end.failure
    elif made != to_utf8(made):
        assert "surrogate" in str(end.failure), f"{way} {seed}: {end}"
    elif end.failure:
        assert len(made) > 1_000_000, f"{way} {seed}: {end.failure}"
    else:
        assert end.output == {"made": made, "said": said}, f"{way} {seed}"


def test_random_text_is_told_once_and_shown_clean_whatever_the_way(
    told: Engine, tmp_path: Path
) -> None:
    many, shown = count(5, 200), []
    for seed in range(1, many + 1):
        for way in WAYS:
            _try(told, way, seed, tmp_path / f"{way}-{seed}")
        shown += [f"{way}-{seed}" for way in ("message", "a2a", "inside")]
    for at in range(0, len(shown), 60):
        views = [(view, run) for run in shown[at : at + 60] for view in ("status", "logs")]
        commands = [*views, *(("inspect", run) for run in shown[at : at + 3])]
        # The terminal of the test fails at whatever would control a person's.
        screen = _on_terminal(told, *commands, size=(100, 40)).screen.text()
        assert "\nTraceback (most recent call last)" not in screen
        assert screen.count("$ ") >= len(commands)


def test_five_million_characters_are_told_once_in_every_way(told: Engine, tmp_path: Path) -> None:
    for way in WAYS:
        _try(told, way, 1_000 * RARE, tmp_path / way)
