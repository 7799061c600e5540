"""Pause, resume, rerun, requeue and cancel: on real Celery workers."""

from pathlib import Path
from typing import Any

import psutil
import pytest

from flowcore.errors import RunStateError, UsageError
from flowcore.run.event import EventType
from flowcore.run.record import Origin
from flowcore.run.status import NodeState, RunState
from tests.engine import Engine, poll, running_engine
from tests.services import running_valkey


def _holding(tmp_path: Path) -> dict[str, Any]:
    """Three nodes, the middle one of which waits for the file ``go``."""
    given = {"path": str(tmp_path / "go"), "mark": str(tmp_path / "mark")}
    return {
        "first": {"uses": "engine_nodes:numbers"},
        "hold": {"uses": "engine_nodes:wait_for", "with": given, "needs": ["first"]},
        "total": {"uses": "engine_nodes:total", "needs": ["first", "hold"]},
    }


def test_a_run_paused_in_the_middle_goes_on_when_it_is_resumed(
    engine: Engine, tmp_path: Path
) -> None:
    handle = engine.start(_holding(tmp_path), {"n": 5})
    poll((tmp_path / "mark").exists, what="the node to run")
    assert handle.pause() is RunState.PAUSED
    (tmp_path / "go").write_text("went")
    poll(lambda: handle.record().nodes["total"].state is NodeState.HELD, what="the last to be held")
    assert handle.record().nodes["hold"].state is NodeState.SUCCEEDED
    assert handle.status() is RunState.PAUSED
    assert handle.resume() is RunState.RUNNING
    result = handle.wait(60)
    assert result.success, result.error
    assert result.output == 10
    assert {node.attempts for node in result.nodes.values()} == {1}


def test_a_unit_gives_back_its_nodes_when_its_run_is_paused(engine: Engine, tmp_path: Path) -> None:
    """All starts travel in few messages; none but those in hand is begun once it is paused."""
    given = {"path": str(tmp_path / "go"), "mark": str(tmp_path / "mark")}
    nodes: dict[str, Any] = {"hold": {"uses": "engine_nodes:wait_for", "with": given}}
    nodes |= {
        f"n{at}": {"uses": "engine_nodes:echo", "with": {"value": at}, "needs": ["hold"]}
        for at in range(300)
    }
    handle = engine.start(nodes)
    poll((tmp_path / "mark").exists, what="the node to run")
    handle.pause()
    (tmp_path / "go").write_text("went")
    poll(lambda: handle.record().nodes["n299"].state is NodeState.HELD, what="all to be held")
    assert len(handle.outputs()) == 1
    handle.resume()
    result = handle.wait(60)
    assert result.success, result.error
    assert len(result.outputs) == 301


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_killed_while_its_run_is_paused_loses_nothing(tmp_path: Path, pool: str) -> None:
    with (
        running_valkey() as url,
        running_engine(
            url, tmp_path, lease="1.0", heartbeat="0.25", dispatch_lease="1.0"
        ) as fragile,
    ):
        workers = fragile.workers(pool=pool)
        handle = fragile.start(_holding(tmp_path), {"n": 5})
        poll((tmp_path / "mark").exists, what="the node to run")
        handle.pause()
        for pid in workers.pids:
            family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            for process in family:
                process.kill()
        fragile.workers(pool=pool)
        poll(lambda: handle.record().nodes["hold"].state is NodeState.HELD, what="it to be held")
        assert [e.node for e in _told(handle) if e.type is EventType.NODE_LOST] == ["hold"]
        (tmp_path / "go").write_text("went")
        handle.resume()
        result = handle.wait(60)
        assert result.success, result.error
        assert result.output == 10
        assert result.nodes["hold"].attempts == 2


def _told(handle: Any) -> Any:
    return handle._session.runtime.events.read_all(handle.id)


def test_a_failed_run_goes_on_once_the_cause_is_mended(engine: Engine, tmp_path: Path) -> None:
    log = tmp_path / "log"
    retry = {"max_attempts": 2, "delay": 0}
    nodes = {
        "first": {"uses": "engine_nodes:append", "with": {"path": str(log)}},
        "shy": {
            "uses": "engine_nodes:fail_until",
            "with": {"attempt": 4},
            "retry": retry,
            "needs": ["first"],
        },
        "last": {"uses": "engine_nodes:echo", "with": {"value": "end"}, "needs": ["shy"]},
    }
    handle = engine.start(nodes)
    failed = handle.wait(60)
    assert failed.error == "node 'shy': ConnectionError: attempt 2 fails"
    handle.resume()
    result = handle.wait(60)
    assert result.success, result.error
    assert result.outputs["shy"] == 4, "two more attempts: its retries began anew"
    assert log.read_text() == "first 1\n", "what has succeeded is not run again"
    kinds = [event.type for event in handle.events()]
    assert kinds.index(EventType.RUN_FAILED) + 1 == kinds.index(EventType.RUN_RESUMED)
    assert kinds[-1] is EventType.RUN_SUCCEEDED, "a replay goes on after the failure"
    with pytest.raises(RunStateError, match="has succeeded"):
        handle.resume()
    with pytest.raises(RunStateError, match="nothing to pause"):
        handle.pause()


def test_a_large_cancelled_run_is_resumed_and_ends_right(engine: Engine, tmp_path: Path) -> None:
    """Units of the second life meet nodes that had attempts in the first."""
    given = {"path": str(tmp_path / "go"), "mark": str(tmp_path / "mark")}
    nodes: dict[str, Any] = {"hold": {"uses": "engine_nodes:wait_for", "with": given}}
    for at in range(60):
        nodes[f"a{at}"] = {"uses": "engine_nodes:echo", "with": {"value": at}}
        nodes[f"b{at}"] = {
            "uses": "engine_nodes:echo",
            "with": {"value": at},
            "needs": [f"a{at}", "hold"],
        }
        nodes[f"c{at}"] = {"uses": "engine_nodes:echo", "needs": [f"b{at}"]}
    handle = engine.start(nodes)
    poll((tmp_path / "mark").exists, what="the node to run")
    handle.cancel()
    assert handle.wait(60).state is RunState.CANCELLED
    (tmp_path / "go").write_text("went")
    handle.resume()
    result = handle.wait(60)
    assert result.success, result.error
    assert {name: result.outputs[name] for name in nodes if name != "hold"} == {
        f"{letter}{at}": at for letter in "abc" for at in range(60)
    }


def test_a_rerun_takes_over_outputs_and_runs_the_rest_with_its_own_input(
    engine: Engine, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    nodes = {
        "first": {"uses": "engine_nodes:append", "with": {"path": str(log)}},
        "embed": {
            "uses": "engine_nodes:echo",
            "with": {"value": "${{ inputs.word + inputs.mark }}"},
            "needs": ["first"],
        },
    }
    old = engine.start(nodes, {"word": "a", "mark": "!"})
    assert old.wait(60).output == "a!"
    new = old.rerun("embed", {"word": "b"}, id=f"{old.id}-again")
    result = new.wait(60)
    assert result.success, result.error
    assert result.outputs == {"first": None, "embed": "b!"}
    assert log.read_text() == "first 1\n"
    assert new.summary().origin == Origin(run=old.id, node="embed")
    assert old.wait(60).output == "a!"
    assert old.rerun("embed", {"word": "b"}, id=new.id).id == new.id
    with pytest.raises(UsageError, match="exists already, with another origin"):
        old.rerun("first", id=new.id)
    with pytest.raises(UsageError, match="did you mean 'embed'"):
        old.rerun("embd")
    whole = old.rerun()
    assert whole.wait(60).output == "a!"
    assert log.read_text() == "first 1\n" * 2


def test_a_dead_letter_is_listed_and_queued_again(tmp_path: Path) -> None:
    with (
        running_valkey() as url,
        running_engine(url, tmp_path, lease="1.0", heartbeat="0.25", max_lost="1") as fragile,
    ):
        fragile.workers()
        given = {"path": str(tmp_path / "mended")}
        nodes = {"once": {"uses": "engine_nodes:die_unless", "with": given}}
        handle = fragile.start(nodes)
        assert not handle.wait(60).success
        (letter,) = handle.dead_letters(session=fragile.session)
        assert (letter.run, letter.node, letter.failure.type) == (
            handle.id,
            "once",
            "WorkerLostError",
        )
        with pytest.raises(RunStateError, match="is not a dead letter"):
            handle.requeue("other")
        (tmp_path / "mended").touch()
        handle.requeue("once")
        result = handle.wait(60)
        assert result.success, result.error
        assert result.output == "survived"
        assert handle.dead_letters(session=fragile.session) == []


@pytest.mark.parametrize("function", ["wait_for", "async_nap"])
def test_a_node_in_the_middle_of_a_unit_is_cancelled(
    engine: Engine, tmp_path: Path, function: str
) -> None:
    """It runs behind another one in the same unit; it does not look at ctx, so it is forced."""
    given: dict[str, Any] = {"seconds": 50}
    if function == "wait_for":
        given["path"] = str(tmp_path / "never")
    nodes = {
        "first": {"uses": "engine_nodes:numbers"},
        "hold": {"uses": f"engine_nodes:{function}", "with": given, "needs": ["first"]},
        "never": {"uses": "engine_nodes:numbers", "needs": ["hold"]},
    }
    handle = engine.start(nodes)
    poll(lambda: handle.record().nodes["hold"].state is NodeState.RUNNING, what="the node to run")
    handle.cancel()
    result = handle.wait(60)
    assert result.state is RunState.CANCELLED
    assert {name: node.state.value for name, node in result.nodes.items()} == {
        "first": "succeeded",
        "hold": "cancelled",
        "never": "cancelled",
    }
