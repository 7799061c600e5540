"""Workers die; runs end with the right outputs all the same."""

from collections.abc import Iterable
from pathlib import Path

import psutil
import pytest

from flowcore.run.event import EventType
from tests.engine import Engine, poll, running_engine
from tests.services import running_valkey


def _kill_all(pids: Iterable[int]) -> None:
    """Kill workers and their pool children, as the end of a machine would."""
    family = [
        process
        for pid in pids
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    ]
    for process in family:
        process.kill()


@pytest.mark.both_brokers
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_kill_9_of_a_worker_in_mid_run_still_ends_with_the_right_outputs(
    fragile: Engine, tmp_path: Path, pool: str
) -> None:
    workers = fragile.workers(pool=pool)
    go, mark = str(tmp_path / "go"), str(tmp_path / "mark")
    nodes = {
        "first": {"uses": "engine_nodes:numbers"},
        "hold": {
            "uses": "engine_nodes:wait_for",
            "with": {"path": go, "mark": mark},
            "needs": ["first"],
        },
        "total": {"uses": "engine_nodes:total", "needs": ["first", "hold"]},
    }
    handle = fragile.start(nodes, {"n": 5})
    poll(lambda: Path(mark).exists(), what="the node to run")
    _kill_all(workers.pids)
    Path(go).write_text("went")
    result = handle.wait(60)
    assert result.success, result.error
    assert result.outputs == {"first": {"values": [0, 1, 2, 3, 4]}, "hold": "went", "total": 10}
    assert result.nodes["hold"].attempts >= 2
    assert [e.node for e in handle.events() if e.type is EventType.NODE_LOST] == ["hold"]


@pytest.mark.both_brokers
def test_a_node_whose_process_dies_is_run_again_at_once(fragile: Engine, tmp_path: Path) -> None:
    fragile.workers()
    nodes = {"once": {"uses": "engine_nodes:die_once", "with": {"mark": str(tmp_path / "mark")}}}
    result = fragile.run(nodes)
    assert result.success, result.error
    assert result.output == "survived"
    assert result.nodes["once"].attempts == 2


def test_a_node_that_kills_its_process_each_time_becomes_a_dead_letter(fragile: Engine) -> None:
    fragile.workers()
    result = fragile.run({"poison": {"uses": "engine_nodes:die"}})
    assert not result.success
    assert result.error is not None
    assert result.error.startswith("node 'poison': WorkerLostError")
    assert result.nodes["poison"].attempts == 3


def test_processes_that_end_without_a_word_are_noticed_long_before_their_lease(
    tmp_path: Path,
) -> None:
    lives = 9
    with (
        running_valkey() as url,
        running_engine(url, tmp_path, lease="600", max_lost=str(lives - 1)) as engine,
    ):
        engine.workers()
        handle = engine.start({"poison": {"uses": "engine_nodes:vanish", "with": {"code": 3}}})
        # Celery's own timer alone would take five seconds for most of them.
        poll(lambda: handle.status().is_terminal, what="every end to be noticed", patience=25)
        result = handle.wait(1)
        assert result.error is not None
        assert "WorkerLostError" in result.error
        assert result.nodes["poison"].attempts == lives


@pytest.mark.both_brokers
def test_messages_lost_by_the_broker_are_published_again(fragile: Engine) -> None:
    handle = fragile.start({"numbers": {"uses": "engine_nodes:numbers"}})
    assert len(fragile.take_messages()) == 1
    fragile.workers()
    assert handle.wait(60).success


@pytest.mark.both_brokers
@pytest.mark.parametrize(("width", "sent"), [(15, 15), (40, 4)], ids=["alone", "in bundles"])
def test_doubled_messages_run_nothing_twice(
    fragile: Engine, tmp_path: Path, width: int, sent: int
) -> None:
    log = tmp_path / "log"
    nodes = {
        f"n{i}": {"uses": "engine_nodes:append", "with": {"path": str(log)}} for i in range(width)
    }
    nodes["end"] = {
        "uses": "engine_nodes:append",
        "with": {"path": str(log)},
        "needs": [f"n{i}" for i in range(width)],
    }
    handle = fragile.start(nodes)
    messages = fragile.take_messages()
    assert len(messages) == sent
    fragile.put_messages([*messages, *messages, *messages])
    fragile.workers()
    result = handle.wait(60)
    assert result.success, result.error
    assert sorted(log.read_text().split("\n")[:-1]) == sorted(f"{name} 1" for name in nodes)


def test_a_node_that_dies_in_the_middle_of_a_unit_is_run_again(
    fragile: Engine, tmp_path: Path
) -> None:
    fragile.workers()
    nodes = {
        "first": {"uses": "engine_nodes:numbers"},
        "once": {
            "uses": "engine_nodes:die_once",
            "with": {"mark": str(tmp_path / "mark")},
            "needs": ["first"],
        },
        "total": {"uses": "engine_nodes:total", "needs": ["first", "once"]},
    }
    result = fragile.run(nodes)
    assert result.success, result.error
    assert result.output == 10
    assert {name: node.attempts for name, node in result.nodes.items()} == {
        "first": 1,
        "once": 2,
        "total": 1,
    }


@pytest.mark.parametrize("width", [1, 40], ids=["a chain", "bundles"])
def test_the_other_nodes_of_a_unit_whose_process_dies_need_not_wait_for_its_lease(
    tmp_path: Path, width: int
) -> None:
    with running_valkey() as url, running_engine(url, tmp_path, lease="600") as engine:
        engine.workers()
        given = {"mark": str(tmp_path / "mark")}
        starts = {f"n{i}": {"uses": "engine_nodes:numbers"} for i in range(width)}
        nodes = {
            **starts,
            "once": {"uses": "engine_nodes:die_once", "with": given, "needs": ["n0"]},
            "end": {"uses": "passthrough", "needs": ["once", *starts]},
        }
        assert engine.run(nodes).success
