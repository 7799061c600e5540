"""The a2a backend: the same definition and results as native, as messages between agents."""

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from flowcore import Run
from flowcore.backends import BackendRegistry
from flowcore.backends.a2a import A2ABackend
from flowcore.client.flow import start_run
from tests.engine import Engine, poll
from tests.integration.conftest import MakeEngine
from tests.integration.test_native_equals_reference import assert_equals_reference, flows

pytestmark = [pytest.mark.integration]

QUEUE = "a2a-nodes"


@pytest.fixture(scope="module")
def agents(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Two workers that host nodes' agents; neither consumes tasks of Celery's."""
    with make_engine(tmp_path_factory.mktemp("a2a"), heartbeat="0.25") as engine:
        engine.workers(pool="threads", slots=4, queues=QUEUE)
        engine.workers(pool="threads", slots=4, queues=QUEUE)
        yield engine


def _start(engine: Engine, nodes: dict[str, Any], **more: Any) -> Any:
    workflow = A2ABackend().create_workflow({"id": "test", "nodes": nodes, **more})
    return start_run(engine.session, workflow.flow.plan(), None)


def test_the_registry_knows_it() -> None:
    assert "a2a" in BackendRegistry.list_backends()
    assert BackendRegistry.create("a2a").name == "a2a"


@pytest.mark.both_brokers
def test_a_flow_runs_on_agents_alone(agents: Engine) -> None:
    nodes: dict[str, Any] = {
        "a": {"uses": "passthrough", "with": {"x": 1}},
        "b": {"uses": "passthrough", "needs": ["a"]},
        "c": {"uses": "passthrough", "needs": ["a"]},
        "d": {"uses": "passthrough", "needs": ["b", "c"], "with": {"y": "${{ a.output.x }}"}},
    }
    result = _start(agents, nodes).wait(60)
    assert result.state.value == "succeeded"
    assert result.outputs["d"] == {"y": 1}


def test_nodes_go_to_the_agents_of_their_queues_defaults_included() -> None:
    nodes = {"a": {"uses": "end"}, "b": {"uses": "end", "queue": "cpu"}}
    for spelled in ({"defaults": {"queue": "gpu"}}, {"config": {"defaults": {"queue": "gpu"}}}):
        plan = A2ABackend().create_workflow({"id": "test", "nodes": nodes, **spelled}).flow.plan()
        assert plan.queues == {"a2a-nodes.gpu", "a2a-nodes.cpu"}


@pytest.mark.timeout(300)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(flow=flows())
def test_a_random_flow_equals_the_reference_interpreter(
    agents: Engine, flow: tuple[dict[str, dict[str, Any]], set[tuple[str, str]]]
) -> None:
    assert_equals_reference(flow, partial(_start, agents))


def test_a_killed_worker_is_taken_over(make_engine: MakeEngine, tmp_path: Path) -> None:
    short = {"lease": "1.0", "heartbeat": "0.25", "dispatch_lease": "1.0"}
    with make_engine(tmp_path, **short) as engine:
        workers = engine.workers(pool="threads", slots=2, queues=QUEUE)
        run = _start(engine, {"nap": {"uses": "sleep", "with": {"seconds": 2}}})
        poll(lambda: run.record().nodes["nap"].state.value == "running", what="the node to run")
        os.kill(workers.pids[0], signal.SIGKILL)
        assert run.wait(60).nodes["nap"].attempts == 2


@pytest.fixture(scope="module")
def one_by_one(
    make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """A worker that runs two nodes at a time, in processes beside its own."""
    with make_engine(tmp_path_factory.mktemp("a2a-2"), heartbeat="0.25", lease="2.0") as engine:
        engine.workers(pool="threads", slots=2, queues=QUEUE)
        yield engine


def _runs(log: Path) -> list[int]:
    """The processes in which a node has begun."""
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def _is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_a_node_that_keeps_the_interpreter_ends_with_its_timeout(
    one_by_one: Engine, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    spin = {"uses": "spinning_nodes:spin", "with": {"mark": str(mark)}, "timeout": "2s"}
    run = _start(one_by_one, {"spin": spin})
    poll(lambda: _runs(mark), what="the node to begin")
    nap = {"uses": "sleep", "with": {"seconds": 0.1}}
    assert (
        _start(one_by_one, {f"nap{n}": nap for n in range(4)}).wait(60).state.value == "succeeded"
    )
    result = run.wait(60)
    assert result.error == "node 'spin': NodeTimeoutError: timed out after 2.00 s"
    assert result.nodes["spin"].attempts == 1
    assert len(_runs(mark)) == 1
    poll(partial(_is_gone, _runs(mark)[0]), what="its process to end")
    assert (
        _start(one_by_one, {f"nap{n}": nap for n in range(4)}).wait(60).state.value == "succeeded"
    )


def test_a_node_that_keeps_the_interpreter_is_ended_by_a_cancel(
    one_by_one: Engine, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    run = _start(one_by_one, {"spin": {"uses": "spinning_nodes:spin", "with": {"mark": str(mark)}}})
    poll(lambda: _runs(mark), what="the node to begin")
    run.cancel()
    poll(partial(_is_gone, _runs(mark)[0]), what="its process to end")
    assert (run.wait(60).state.value, len(_runs(mark))) == ("cancelled", 1)


def test_a_node_that_sleeps_is_cancelled_as_fast_as_on_native(one_by_one: Engine) -> None:
    """It sleeps in the main thread of a process, where a signal wakes it."""
    one_by_one.workers(slots=2)
    nap = {"nap": {"uses": "sleep", "with": {"seconds": 600}}}
    took: dict[str, float] = {}
    for name, start in (("native", one_by_one.start), ("a2a", partial(_start, one_by_one))):
        # The best of three, since a busy machine may delay one.
        took[name] = min(_cancelled(start(nap)) for _ in range(3))
    assert took["a2a"] < 3 * max(took["native"], 0.3), took


def _cancelled(run: Run) -> float:
    """Seconds from a cancel until a node that sleeps has ended."""
    poll(lambda: run.record().nodes["nap"].state.value == "running", what="the node to run")
    begun = time.monotonic()
    run.cancel()
    assert run.wait(60).state.value == "cancelled"
    return time.monotonic() - begun


def test_a_killed_process_of_a_node_costs_one_attempt_and_no_other_node(
    one_by_one: Engine, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    nap = {"uses": "sleep", "with": {"seconds": 3}}
    beside = _start(one_by_one, {"nap": nap})
    poll(lambda: beside.record().nodes["nap"].state.value == "running", what="a node to run")
    dies = {"uses": "spinning_nodes:spin_for", "with": {"mark": str(mark), "seconds": 2}}
    run = _start(one_by_one, {"dies": dies})
    poll(lambda: _runs(mark), what="the node to begin")
    os.kill(_runs(mark)[0], signal.SIGKILL)
    assert run.wait(60).nodes["dies"].attempts == 2
    assert beside.wait(60).nodes["nap"].attempts == 1
