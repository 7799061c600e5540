"""A canary: one secret, read by nodes that say it wherever they can, and looked for afterwards.

The server keeps its append-only file as plain commands: all that was ever written to it is there,
also what was deleted since.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from flowcore import Run
from flowcore.run.event import EventType
from tests.canary import CANARY, leaks_in
from tests.engine import Engine, poll, running_engine
from tests.services import running_valkey

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

READS = {"token": "${{ secrets.TOKEN }}"}
RETRY = {"max_attempts": 2, "delay": "20ms"}


def _node(name: str, **more: Any) -> dict[str, Any]:
    return {"uses": f"secret_nodes:{name}", "with": READS, **more}


@dataclass(frozen=True)
class Scene:
    """An engine whose worker has the canary, and what came of its runs."""

    engine: Engine
    kept: Path
    """Where the server keeps what is written to it."""
    runs: dict[str, Run]
    argv: list[bytes]
    """Command lines of all processes while the runs went on."""


def _succeeding(done: Path) -> dict[str, dict[str, Any]]:
    """Flows by name; each reads the secret in another way."""
    sub = {"uses": "workflow", "flow": {"nodes": {"inner": _node("leak")}}}
    source = {"uses": "passthrough", "for_each": _node("items"), "with": {"got": "${{ item }}"}}
    return {
        "success": {"leak": _node("leak"), "joined": {"uses": "passthrough", "with": READS}},
        "chain": {"first": _node("words"), "second": _node("length", needs=["first"])},
        "cache": {"cached": _node("leak", cache={"ttl": "1h"})},
        "cache again": {"cached": _node("leak", cache={"ttl": "1h"})},
        "retry": {"shy": _node("fail_once", retry=RETRY)},
        "killed": {"dies": _node("die_once", retry=RETRY)},
        "map": {"items": _node("leak", for_each="${{ [1, 2] }}")},
        "loop": {"loop": _node("leak", max_iterations=2)},
        "sub-flow": {
            "sub": sub,
            "branches": {"uses": "parallel", "branches": {"a": _node("leak")}},
        },
        "source": {"source": source},
        "large": {"large": _node("large")},
    }


_FAILING: dict[str, dict[str, Any]] = {
    "failure": {"bad": _node("fail")},
    "no fallback": {"bad": _node("fail", fallback=[{"uses": "secret_nodes:fail"}], retry=RETRY)},
    "timeout": {"slow": _node("hang", timeout="500ms")},
    "map that fails": {"items": _node("fail", for_each="${{ [1, 2] }}")},
    "undone": {
        "done": {"uses": "passthrough", "undo": _node("leak")},
        "bad": _node("fail", needs=["done"]),
    },
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    home = tmp_path_factory.mktemp("secrets")
    plain = ("--appendonly", "yes", "--aof-use-rdb-preamble", "no", "--save", "")
    with (
        running_valkey(*plain) as url,
        running_engine(url, home, heartbeat="0.25", secret_token=CANARY) as engine,
    ):
        engine.workers()
        flows = {**_succeeding(home), **_FAILING}
        runs = {name: engine.start(nodes) for name, nodes in flows.items() if name != "cache again"}
        mark = home / "hangs"
        hanging = _node("hang")
        hanging["with"] = {**READS, "path": str(mark)}
        runs["cancel"] = engine.start({"hangs": hanging})
        poll(mark.exists, what="the node that hangs")
        argv = [path.read_bytes() for path in _command_lines()]
        runs["cancel"].cancel()
        for run in runs.values():
            run.wait(timeout=60)
        runs["cache again"] = engine.start(flows["cache again"])
        runs["cache again"].wait(timeout=60)
        yield Scene(engine, Path(url.removeprefix("unix://")).parent, runs, argv)


def _command_lines() -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == os.getuid():
                yield process / "cmdline"
        except OSError:
            continue


def test_each_run_ends_as_it_would_without_secrets(scene: Scene) -> None:
    states = {name: run.wait(timeout=60).state for name, run in scene.runs.items()}
    wanted = dict.fromkeys(_succeeding(scene.kept), "succeeded")
    wanted |= dict.fromkeys(_FAILING, "failed") | {"cancel": "cancelled"}
    assert {name: state.value for name, state in states.items()} == wanted
    cached = [event.type for event in scene.runs["cache again"].events()]
    assert EventType.NODE_CACHED in cached


def test_the_server_was_never_told_the_secret(scene: Scene) -> None:
    files = [path for path in scene.kept.rglob("*") if path.is_file()]
    told = b"".join(path.read_bytes() for path in files)
    assert b"***" in told
    assert leaks_in(told) == []
    plans = [repr(run.plan().params) for run in scene.runs.values()]  # these are compressed
    assert "${{ secrets.TOKEN }}" in plans[0]
    assert leaks_in("".join(plans)) == []
    with redis.Redis.from_url(scene.engine.session.runtime.redis_url) as client:
        kept = b"".join(client.dump(key) or b"" for key in client.scan_iter())
    assert leaks_in(kept) == []


def test_no_log_has_it(scene: Scene) -> None:
    told = b"".join(path.read_bytes() for path in scene.engine.home.glob("*.log"))
    assert b"printed ***" in told
    assert b"the token is ***" in told
    assert leaks_in(told) == []


def test_no_event_error_or_output_has_it(scene: Scene) -> None:
    for name, run in scene.runs.items():
        record = run.record()
        told = [repr(list(run.events())), repr(record), repr(dict(run.outputs(None)))]
        assert leaks_in("".join(told)) == [], name


def test_no_command_line_has_it(scene: Scene) -> None:
    assert any(b"celery" in line for line in scene.argv)
    assert leaks_in(b"".join(scene.argv)) == []


def test_a_worker_without_the_secret_says_which_and_how(scene: Scene) -> None:
    nodes = {"a": {"uses": "passthrough", "with": {"x": "${{ secrets.TOKKEN }}"}}}
    result = scene.engine.run(nodes)
    assert result.error == (
        "node 'a': SecretError: this worker has no secret 'TOKKEN'; did you mean 'TOKEN'? "
        "set FLOWCORE_SECRET_TOKKEN in its environment"
    )
