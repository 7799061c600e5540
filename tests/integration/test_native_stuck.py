"""Nodes that never come back are ended, with the true cause on record."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis

from flowcore import Run
from flowcore.cli.commands.doctor_workers import check_notes
from flowcore.run.event import EventType
from flowcore.run.status import NodeState, RunState
from tests.engine import Engine, poll, running_engine
from tests.services import running_valkey

pytestmark = pytest.mark.integration

SPIN = "spinning_nodes:spin"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One worker with two children, for all tests of this file that leave it as it was.

    No lease runs out because the machine is busy: what comes of that has tests of its own.
    """
    home = tmp_path_factory.mktemp("stuck")
    lease = {"lease": "60", "heartbeat": "1.5"}
    with running_valkey() as url, running_engine(url, home, **lease) as engine:
        engine.workers(slots=2)
        yield engine


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


def _spun(mark: Path) -> list[int]:
    return [int(line) for line in mark.read_text().split()] if mark.exists() else []


def _spin(mark: Path, uses: str = SPIN, **more: Any) -> dict[str, Any]:
    return {"uses": uses, "with": {"mark": str(mark)}, **more}


def _meeting(mark: Path) -> dict[str, Any]:
    """Two nodes that wait for each other: they need two slots."""
    return {
        name: {
            "uses": "spinning_nodes:meet",
            "with": {"here": str(mark) + name, "there": str(mark) + of},
        }
        for name, of in (("a", "b"), ("b", "a"))
    }


def _begun(run: Run, node: str) -> int:
    return sum(e.type is EventType.NODE_STARTED and e.node == node for e in run.events())


def _gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize(
    "uses",
    [
        SPIN,
        *("spinning_nodes:async_spin", "spinning_nodes:swallow"),
        *("spinning_nodes:give", "spinning_nodes:wordy", "spinning_nodes:cling"),
        *("spinning_nodes:sleep_inside", "spinning_nodes:refuse"),
    ],
)
def test_a_node_that_keeps_its_interpreter_times_out_after_one_attempt(
    engine: Engine, mark: Path, uses: str
) -> None:
    run = engine.start({"spin": _spin(mark, uses, timeout="1s")})
    other = engine.run({"a": {"uses": "spinning_nodes:where"}})
    assert other.success
    result = run.wait(60)
    assert result.nodes["spin"].state is NodeState.FAILED
    assert result.nodes["spin"].attempts == 1
    assert result.error == "node 'spin': NodeTimeoutError: timed out after 1.00 s"
    (pid,) = _spun(mark)
    poll(lambda: _gone(pid), what="the child to be gone")
    # Its slot is usable again: two nodes that wait for each other need both.
    assert engine.run(_meeting(mark)).success


def test_time_limits_hold_for_items_iterations_and_flows_inside(engine: Engine, mark: Path) -> None:
    item = _spin(mark, "spinning_nodes:spin_if", timeout="1s")
    item["with"] = {**item["with"], "number": "${{ item }}"}
    result = engine.run({"all": {**item, "for_each": [0, 1, 2]}})
    assert not result.success
    assert result.error is not None
    assert "NodeTimeoutError: timed out after 1.00 s" in result.error
    assert len(_spun(mark)) == 1
    body = {**item, "with": {**item["with"], "number": "${{ inputs.n }}"}}
    loop = {
        "uses": "loop",
        "flow": {"id": "body", "nodes": {"spin": body}},
        "with": {"n": "${{ state + 1 }}"},
        "initial": -1,
        "until": "output >= 6",
    }
    result = engine.run({"looped": loop})
    assert "NodeTimeoutError: timed out after 1.00 s" in str(result.error)
    assert result.nodes["looped"].attempts == 1
    assert len(_spun(mark)) == 2
    inner = {"nodes": {"spin": _spin(mark, timeout="1s")}}
    result = engine.run({"inner": {"uses": "workflow", "flow": {"id": "inner", **inner}}})
    assert not result.success
    assert "NodeTimeoutError" in (result.error or "")
    assert len(_spun(mark)) == 3


def test_a_retry_a_fallback_and_a_condition_hold_for_a_node_that_is_ended(
    engine: Engine, mark: Path
) -> None:
    retry = {"max_attempts": 2, "delay": "0s", "jitter": False}
    nodes = {
        "spin": _spin(mark, timeout="1s", retry=retry, fallback={"uses": "spinning_nodes:instead"})
    }
    result = engine.run(nodes)
    assert result.output == "NodeTimeoutError"
    assert result.nodes["spin"].attempts == 2
    assert len(_spun(mark)) == 2
    assert not set(_spun(mark)) & set(_spun(Path(f"{mark}.fallback")))


@pytest.mark.parametrize("guard", [{}, {"concurrency": 1}], ids=str)
@pytest.mark.parametrize("uses", [SPIN, "spinning_nodes:doze", "spinning_nodes:balk"])
def test_a_fallback_that_does_not_come_back_is_called_once(
    engine: Engine, mark: Path, uses: str, guard: dict[str, Any]
) -> None:
    fallback = {"uses": "spinning_nodes:spin_instead"}
    result = engine.run({"spin": _spin(mark, uses, timeout="1s", fallback=fallback, **guard)})
    assert result.error == "node 'spin': NodeTimeoutError: timed out after 1.00 s"
    assert result.nodes["spin"].attempts == 1
    assert len(_spun(Path(f"{mark}.fallback"))) == len(_spun(mark)) == 1


def test_a_fallback_is_called_once_though_who_keeps_its_lease_was_held_up(
    tmp_path: Path, mark: Path
) -> None:
    """The worker's parent is stopped until the lease has run out, as on a machine that is too busy.

    When it goes on, its watchdog comes before its janitor.
    """
    with running_valkey() as url, running_engine(url, tmp_path, lease="2") as engine:
        workers = engine.workers(slots=2)
        fallback = {"uses": "spinning_nodes:spin_instead"}
        run = engine.start({"spin": _spin(mark, timeout="1s", fallback=fallback)})
        poll(lambda: _spun(Path(f"{mark}.fallback")), what="the fallback to begin")
        parent = psutil.Process(workers.pids[0])
        parent.suspend()
        try:
            with redis.Redis.from_url(url) as client:
                poll(lambda: _is_over(client, f"{run.id}|0"), what="the lease to run out")
        finally:
            parent.resume()
        result = run.wait(60)
        assert result.error == "node 'spin': NodeTimeoutError: timed out after 1.00 s"
        assert result.nodes["spin"].attempts == 1
        assert len(_spun(Path(f"{mark}.fallback"))) == len(_spun(mark)) == 1
        assert EventType.NODE_LOST not in [event.type for event in run.events()]


def _is_over(client: "redis.Redis", member: str) -> bool:
    """Whether a lease has run out, for a second by now, and nobody has seen to it."""
    due: Any = client.zscore("fc:agenda", member)
    now: Any = client.time()
    return bool(due is not None and due / 1000 + 1 < now[0])


@pytest.mark.parametrize("uses", [SPIN, "spinning_nodes:balk"])
def test_conditions_hold_after_a_fallback_that_does_not_come_back(
    engine: Engine, mark: Path, uses: str
) -> None:
    fallback = {"uses": "spinning_nodes:spin_instead"}
    nodes = {
        "spin": _spin(mark, uses, timeout="1s", fallback=fallback),
        "mended": {"uses": "spinning_nodes:where", "join": "all_done"},
        "unused": {"uses": "spinning_nodes:where"},
    }
    edges = [
        {"from": "spin", "to": "mended", "when": "nodes.spin.state == 'failed'"},
        {"from": "spin", "to": "unused", "when": "nodes.spin.state == 'succeeded'"},
    ]
    result = engine.run(nodes, edges=edges)
    assert result.success, result.error  # the edge that does not accept the failure is dead
    assert result.nodes["spin"].state is NodeState.FAILED
    assert result.nodes["mended"].state is NodeState.SUCCEEDED
    assert result.nodes["unused"].state is NodeState.SKIPPED
    assert len(_spun(Path(f"{mark}.fallback"))) == 1


def test_children_that_a_pool_gets_later_are_watched_as_well(tmp_path: Path, mark: Path) -> None:
    with running_valkey() as url, running_engine(url, tmp_path) as engine:
        workers = engine.workers(slots=1)
        app = engine.session.runtime.app
        app.control.pool_grow(2)
        parent = psutil.Process(workers.pids[0])
        poll(lambda: len(parent.children()) == 3, what="the pool to grow")
        marks = [Path(f"{mark}{at}") for at in range(3)]
        runs = [engine.start({"spin": _spin(each, timeout="3s")}) for each in marks]
        poll(lambda: all(map(_spun, marks)), what="all to spin at once")
        for run in runs:
            result = run.wait(60)
            assert result.error == "node 'spin': NodeTimeoutError: timed out after 3.00 s"
            assert result.nodes["spin"].attempts == 1
        assert len({pid for each in marks for pid in _spun(each)}) == 3


def test_a_guarded_node_that_is_ended_tells_its_circuit_and_gives_its_place_back(
    engine: Engine, mark: Path
) -> None:
    guard: dict[str, Any] = {
        "circuit_breaker": {"failures": 1, "reset_after": "1h"},
        "concurrency": 1,
    }
    nodes = {"spin": _spin(mark, timeout="1s", **guard)}
    assert "NodeTimeoutError" in str(engine.run(nodes).error)
    result = engine.run(nodes)
    assert "CircuitOpenError" in str(result.error)
    assert len(_spun(mark)) == 1


def test_a_node_that_spins_keeps_its_place_under_a_limit(tmp_path: Path, mark: Path) -> None:
    with running_valkey() as url, running_engine(url, tmp_path, lease="2") as engine:
        engine.workers(slots=2)
        spin = _spin(mark, "spinning_nodes:spin_for", concurrency={"name": "one", "limit": 1})
        spin["with"]["seconds"] = 6
        first = engine.start({"spin": spin})
        poll(lambda: _spun(mark), what="the first to begin")
        second = engine.start({"spin": {**spin, "with": {"mark": str(mark), "seconds": 0.1}}})
        poll(lambda: len(_spun(mark)) == 2, what="the second to begin")
        assert first.wait(60).success
        assert second.wait(60).success
        ended = [e.time for e in first.events() if e.type is EventType.NODE_SUCCEEDED]
        begun = [e.time for e in second.events() if e.type is EventType.NODE_STARTED]
        assert begun[-1] >= ended[0]


def test_what_comes_after_a_failure_is_decided_by_a_child(engine: Engine, mark: Path) -> None:
    nodes = {
        "spin": _spin(mark, timeout="1s"),
        "mended": {"uses": "spinning_nodes:where", "join": "all_done"},
        "unused": {"uses": "spinning_nodes:where"},
    }
    edges = [
        {"from": "spin", "to": "mended", "when": "nodes.spin.state == 'failed'"},
        {"from": "spin", "to": "unused", "when": "nodes.spin.state == 'succeeded'"},
    ]
    result = engine.run(nodes, edges=edges)
    assert result.nodes["spin"].state is NodeState.FAILED
    assert result.nodes["mended"].state is NodeState.SUCCEEDED
    assert result.nodes["unused"].state is NodeState.SKIPPED


@pytest.mark.parametrize(
    ("uses", "in_unit"), [(SPIN, True), (SPIN, False), ("spinning_nodes:swallow", True)]
)
def test_a_cancelled_node_that_goes_on_is_ended(
    engine: Engine, mark: Path, uses: str, *, in_unit: bool
) -> None:
    more: dict[str, Any] = {} if in_unit else {"timeout": "10m"}
    nodes = {
        "before": {"uses": "spinning_nodes:where"},
        "spin": _spin(mark, uses, needs=["before"], **more),
        "after": {"uses": "spinning_nodes:where", "needs": ["spin"]},
    }
    run = engine.start(nodes)
    (pid,) = poll(lambda: _spun(mark), what="the node to begin")
    run.cancel()
    poll(lambda: _gone(pid), what="the child to be ended")
    result = run.wait(60)
    assert result.state is RunState.CANCELLED
    states = {name: (node.state, node.attempts) for name, node in result.nodes.items()}
    assert states["spin"] == (NodeState.CANCELLED, 1)
    assert states["after"] == (NodeState.CANCELLED, 0)
    assert len(_spun(mark)) == 1


def test_the_lease_of_a_node_that_spins_is_kept_and_what_its_child_holds_goes_to_others(
    tmp_path: Path, mark: Path
) -> None:
    with running_valkey() as url, running_engine(url, tmp_path, lease="2") as engine:
        engine.workers(slots=2)
        nodes: dict[str, Any] = {f"n{at}": {"uses": "spinning_nodes:where"} for at in range(30)}
        spin = _spin(mark, "spinning_nodes:spin_for")
        spin["with"]["seconds"] = 8
        nodes = {**nodes, "spin": spin, "after": {"uses": "passthrough", "needs": ["spin", *nodes]}}
        run = engine.start(nodes)
        poll(lambda: _spun(mark), what="the node to begin")

        def others() -> bool:
            record = run.record()
            return all(
                node.state is NodeState.SUCCEEDED
                for name, node in record.nodes.items()
                if name.startswith("n")
            )

        poll(others, what="what the child holds to be done by others", patience=6)
        assert run.record().nodes["spin"].state is NodeState.RUNNING
        assert engine.run({"a": {"uses": "spinning_nodes:where"}}).success
        result = run.wait(60)
        assert result.success, result.error
        assert result.outputs["spin"] == "came back"
        assert {node.attempts for node in result.nodes.values()} == {1}
        assert len(_spun(mark)) == 1
        told = [event.type for event in run.events() if event.node == "spin"]
        assert told.count(EventType.NODE_STARTED) == 1
        assert EventType.NODE_LOST not in [event.type for event in run.events()]


@pytest.mark.parametrize("uses", ["engine_nodes:wait_for", SPIN])
def test_a_child_that_is_stopped_loses_its_lease_and_then_its_slot(
    tmp_path: Path, mark: Path, uses: str
) -> None:
    with running_valkey() as url, running_engine(url, tmp_path, lease="2") as engine:
        engine.workers(slots=2)
        go = tmp_path / "go"
        given = {"mark": str(mark), **({} if uses == SPIN else {"path": str(go)})}
        run = engine.start({"held": {"uses": uses, "with": given}})
        (pid,) = poll(lambda: _spun(mark), what="the node to begin")
        psutil.Process(pid).send_signal(signal.SIGSTOP)
        poll(lambda: len(_spun(mark)) == 2, what="another child to have it")
        go.touch()
        if uses == SPIN:
            run.cancel()
        result = run.wait(60)
        assert result.nodes["held"].attempts == 2
        poll(lambda: _gone(pid), what="the child that lost it to be ended")
        assert engine.run(_meeting(mark)).success


def test_in_threads_a_node_that_goes_on_is_given_up_and_its_slot_shows_as_stuck(
    tmp_path: Path, mark: Path
) -> None:
    with running_valkey() as url, running_engine(url, tmp_path) as engine:
        engine.workers(pool="threads", slots=3)
        late = engine.start({"spin": _spin(mark, "spinning_nodes:swallow", timeout="1s")})
        stopped = engine.start({"spin": _spin(Path(f"{mark}2"), "spinning_nodes:swallow")})
        poll(lambda: _spun(Path(f"{mark}2")), what="the node to begin")
        stopped.cancel()
        result = late.wait(60)
        assert result.error == "node 'spin': NodeTimeoutError: timed out after 1.00 s"
        assert result.nodes["spin"].attempts == 1
        assert stopped.wait(60).state is RunState.CANCELLED
        board = engine.session.runtime.board
        poll(lambda: [note.stuck for note in board.workers()] == [2], what="both slots to show")
        (finding,) = check_notes(board.workers())
        assert finding.status == "warn"
        assert "2 of 3 slots stuck" in finding.found
        assert engine.run({"a": {"uses": "spinning_nodes:where"}}).success


def test_in_threads_a_fallback_that_goes_on_is_called_once(tmp_path: Path, mark: Path) -> None:
    with running_valkey() as url, running_engine(url, tmp_path) as engine:
        engine.workers(pool="threads", slots=3)
        fallback = {"uses": "spinning_nodes:swallow_instead"}
        balk = _spin(mark, "spinning_nodes:balk", timeout="1s", fallback=fallback)
        result = engine.run({"spin": balk})
        assert "NodeTimeoutError: timed out after 1.00 s" in str(result.error)
        assert result.nodes["spin"].attempts == 1
        assert len(_spun(Path(f"{mark}.fallback"))) == 1


# A fork server's processes import the worker's main module: slow on a busy machine.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_nodes_may_have_pools_of_processes(tmp_path: Path, pool: str) -> None:
    with running_valkey() as url, running_engine(url, tmp_path) as engine:
        engine.workers(pool=pool)
        for _ in range(5):
            result = engine.run({"pool": {"uses": "spinning_nodes:squares"}})
            assert result.output == [1, 4, 9], result.error
        spawned = {"pool": {"uses": "spinning_nodes:squares", "with": {"method": "forkserver"}}}
        assert engine.run(spawned).output == [1, 4, 9]


def test_what_a_node_has_started_is_ended_with_it(engine: Engine, mark: Path) -> None:
    uses = "spinning_nodes:spin_with_children"
    result = engine.run({"spin": _spin(mark, uses, timeout="1s")})
    assert "NodeTimeoutError" in str(result.error)
    started = [int(pid) for pid in Path(f"{mark}.children").read_text().split()]
    poll(lambda: all(map(_gone, started)), what="what the node has started to be ended")
