"""Flows that were sent without what decorators say, and checks against live workers; for real."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowcore import Flow, InvalidFlowError, Run, Schedules
from flowcore.cli.main import main
from flowcore.client.flow import start_run
from flowcore.errors import ServiceError
from flowcore.plan.plan import Plan
from tests.engine import MODULES, Engine
from tests.integration.conftest import MakeEngine
from tests.names_only import compiled_elsewhere

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def marked(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A worker of the default queue with two children, and one of the queue ``special``."""
    with make_engine(tmp_path_factory.mktemp("marks"), heartbeat="0.25") as engine:
        engine.workers(include="decorated_nodes,engine_nodes")
        engine.workers(pool="threads", queues="special")
        yield engine


def _start(engine: Engine, tree: dict[str, Any], **more: Any) -> Run:
    return start_run(engine.session, compiled_elsewhere({"id": "test", **tree}), None, **more)


def _special(engine: Engine) -> str:
    notes = engine.session.runtime.board.workers()
    (name,) = [note.name for note in notes if "special" in note.queues]
    return name


def test_a_node_goes_to_the_queue_of_its_decorator_though_the_client_does_not_know_it(
    marked: Engine,
) -> None:
    where = {"uses": "decorated_nodes:where"}
    nodes = {
        "alone": where,
        "map": {**where, "for_each": [1, 2, 3]},
        "both": {"uses": "parallel", "branches": {"in": where}},
        "flow": {"uses": "workflow", "flow": {"id": "inside", "nodes": {"in": where}}},
        "own": {**where, "queue": marked.session.runtime.settings.queue},
    }
    result = _start(marked, {"nodes": nodes}).wait(100)
    outputs: Any = result.outputs
    special = _special(marked)
    assert outputs["alone"] == special
    assert outputs["map"] == [special] * 3
    assert outputs["both"] == {"in": special}
    assert outputs["flow"] == special
    assert outputs["own"] != special
    assert {node.attempts for node in result.nodes.values()} == {1}


def test_that_a_node_was_sent_on_is_recorded_once(marked: Engine) -> None:
    run = _start(marked, {"nodes": {"a": {"uses": "decorated_nodes:where"}}})
    assert run.wait(60).output == _special(marked)
    waits = [event.data for event in run.events() if event.type == "node.waiting"]
    assert len(waits) == 1
    assert "queue 'special'" in str(waits[0])
    begun = [event for event in run.events() if event.type == "node.started"]
    assert len(begun) == 2  # the worker that looked at its function, and the one that ran it


def test_nodes_of_a_unit_are_sent_on_too(marked: Engine) -> None:
    nodes: dict[str, Any] = {"begin": {"uses": "passthrough", "with": {"value": 1}}}
    nodes |= {f"n{at}": {"uses": "decorated_nodes:where", "needs": ["begin"]} for at in range(12)}
    result = _start(marked, {"nodes": nodes}).wait(100)
    assert {result.outputs[f"n{at}"] for at in range(12)} == {_special(marked)}


def test_a_queue_that_nobody_serves_leaves_the_node_where_it_is(
    engine: Engine,
) -> None:
    run = _start(engine, {"nodes": {"a": {"uses": "decorated_nodes:where"}}})
    result = run.wait(60)
    assert result.success
    assert result.nodes["a"].attempts == 1


def test_a_timeout_and_limits_of_decorators_hold_for_nodes_of_a_unit(marked: Engine) -> None:
    """Each of these gets a message of its own, once a worker has looked at its function."""
    begin = {"uses": "passthrough", "with": {"value": 1}}
    kinds = {"slow": "slow", "cached": "cached", "shy": "shy", "broken": "broken"}
    nodes: dict[str, Any] = {"begin": begin}
    for at in range(6):
        nodes |= {
            f"{kind}.{at}": {"uses": f"decorated_nodes:{name}", "needs": ["begin"]}
            for kind, name in kinds.items()
        }
    config = {"execution": {"fail_fast": False}}
    run = _start(marked, {"nodes": nodes, "config": config})
    result = run.wait(150)
    told = {
        "slow": ("failed", 1, "NodeTimeoutError"),
        "cached": ("succeeded", 1, None),
        "shy": ("succeeded", 3, None),
        "broken": ("succeeded", 3, None),
    }
    wrong = {
        id: found
        for id, node in result.nodes.items()
        if id != "begin"
        and (found := (node.state.value, node.attempts, node.error.type if node.error else None))
        != told[id.partition(".")[0]]
    }
    assert wrong == {}


def _tree(uses: str, **keys: Any) -> dict[str, Any]:
    return {"id": "f", "nodes": {"a": {"uses": uses, **keys}}}


def test_a_check_asks_live_workers_for_names_and_queues(marked: Engine) -> None:
    session = marked.session
    good = Flow.load(_tree("decorated_nodes:where", queue="special"))
    assert good.check(live=True, session=session).order == ("a",)
    inside = {"uses": "decorated_nodes:where", "queue": "gpuu"}
    for bad, code in (
        (_tree("decorated_nodes:nothing"), "FC221"),
        (_tree("os:system"), "FC221"),
        (_tree("decorated_nodes:where", queue="gpuu"), "FC230"),
        ({"id": "f", "nodes": {"a": {"uses": "parallel", "branches": {"x": inside}}}}, "FC230"),
        (
            {"id": "f", "nodes": {"a": {"uses": "workflow", "flow": {"nodes": {"x": inside}}}}},
            "FC230",
        ),
    ):
        with pytest.raises(InvalidFlowError, match=code):
            Flow.load(bad).check(live=True, session=session)


def test_without_a_live_worker_there_is_nothing_to_check_against(
    make_engine: MakeEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with make_engine(tmp_path) as lonely:
        with pytest.raises(ServiceError, match="no live worker"):
            Flow.load(_tree("end")).check(live=True, session=lonely.session)
        inside = {"nodes": {"x": {"uses": "end", "queue": "gpu"}}}
        with caplog.at_level(logging.WARNING, logger="flowcore"):
            for _ in range(3):
                Flow.load(_tree("workflow", flow=inside)).enqueue(session=lonely.session)
        told = [line for line in caplog.messages if "no live worker serves" in line]
        assert len(told) == 1
        assert "gpu" in told[0]


def test_validate_live_is_a_command(
    marked: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runtime = marked.session.runtime
    monkeypatch.setenv("FLOWCORE_REDIS_URL", runtime.redis_urls[0])
    monkeypatch.setenv("FLOWCORE_HOME", str(marked.home))
    (tmp_path / "good.json").write_text(json.dumps(_tree("decorated_nodes:where")))
    (tmp_path / "bad.json").write_text(json.dumps(_tree("decorated_nodes:where", queue="gpuu")))
    assert main(["validate", "--live", str(tmp_path / "good.json")]) == 0
    assert main(["validate", "--live", str(tmp_path / "bad.json")]) == 2
    assert "no live worker serves 'gpuu'" in capsys.readouterr().out


def test_the_queues_of_a_deployed_sub_flow_are_the_runs_own(
    marked: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runtime = marked.session.runtime
    monkeypatch.setenv("FLOWCORE_REDIS_URL", runtime.redis_urls[0])
    monkeypatch.setenv("FLOWCORE_HOME", str(marked.home))
    Flow.load({"id": "below", "nodes": {"x": {"uses": "end", "queue": "tpu"}}}).deploy(
        session=marked.session
    )
    path = tmp_path / "around.json"
    path.write_text(json.dumps(_tree("workflow", flow="below")))
    assert main(["submit", str(path)]) == 0
    assert "no live worker serves tpu" in capsys.readouterr().err


def test_removing_a_flow_names_the_schedules_that_it_leaves_without_one(
    marked: Engine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runtime = marked.session.runtime
    monkeypatch.setenv("FLOWCORE_REDIS_URL", runtime.redis_urls[0])
    monkeypatch.setenv("FLOWCORE_HOME", str(marked.home))
    for version in ("1", "2"):
        tree = {"id": "nightly", "version": version, "nodes": {"x": {"uses": "end"}}}
        Flow.load(tree).deploy(session=marked.session)
    schedules = Schedules(session=marked.session)
    schedules.put("pinned", "nightly@1", every="1h", paused=True)
    schedules.put("latest", "nightly", every="1h", paused=True)
    assert main(["flows", "--remove", "nightly@1"]) == 0
    told = capsys.readouterr().err
    assert "pinned" in told
    assert "latest" not in told
    assert main(["flows", "--remove", "nightly@2"]) == 0
    assert "latest" in capsys.readouterr().err
    for name in ("pinned", "latest"):
        schedules.remove(name)


_FILE = """
import sys
from flowcore import Flow
sys.stdout.buffer.write(Flow.load(sys.argv[1]).plan().to_bytes())
"""


@pytest.mark.parametrize("is_here", [True, False])
def test_a_flow_of_a_file_has_what_decorators_say_where_they_can_be_imported(
    tmp_path: Path, *, is_here: bool
) -> None:
    path = tmp_path / "f.json"
    path.write_text(json.dumps(_tree("decorated_nodes:everything")))
    env = {"PYTHONPATH": str(MODULES)} if is_here else {}
    argv = [sys.executable, "-c", _FILE, str(path)]
    done = subprocess.run(argv, capture_output=True, check=True, cwd=tmp_path, env=env)
    policy = Plan.from_bytes(done.stdout).policy(0)
    found = (policy.queue, policy.join, policy.priority, policy.own is None)
    assert found == (
        ("gpu", "all_done", 8, True) if is_here else (None, "all_success", None, False)
    )
