"""Where random command lines are typed: files of every kind, runs in every state.

In: an engine with a worker, a directory. Out: a World. Not here: the lines (lines).
"""

import json
import os
from functools import partial
from pathlib import Path

from flowcore import Flow, Memory, Run, Schedules
from flowcore.client.flow import deploy_plan
from tests.commands.values import World
from tests.engine import Engine, poll

__all__ = ["furnish"]

_NODES = "engine_nodes:"
_FILES = {
    "good.yaml": "id: good\ninputs: {text: {type: string, default: x}}\n"
    "nodes: {a: {uses: 'engine_nodes:echo', with: {value: '${{ inputs.text }}'}}}\n",
    "typed.yaml": "id: typed\ninputs: {count: {type: integer}}\n"
    "nodes: {a: {uses: 'engine_nodes:echo', with: {value: '${{ inputs.count }}'}}}\n",
    "fails.yaml": "id: fails\nnodes: {a: {uses: 'engine_nodes:fail', with: {message: no}}}\n",
    "waits.yaml": "id: waits\nnodes: {a: {uses: wait, with: {for: 1h}}}\n",
    "bad.yaml": "nodes: {a: {uses: nothing, needs: [b]}, c: {use: start}}\n",
    "odd.yaml": "nodes: [1, {a: 2}]\n",
    "tabs.yaml": "nodes:\n\ta: {uses: start}\n",
    "deep.json": "[" * 5000 + "]" * 5000,
    "empty.yaml": "",
    "latin.yaml": "id: caf\xe9\n",
    "flow.json": json.dumps({"id": "j", "nodes": {"a": {"uses": "start"}}}),
    "one.py": "from flowcore import Flow\nmade = Flow('made')\nmade.add('a', 'start')\n",
    "two.py": "from flowcore import Flow\nx = Flow('x')\ny = Flow('y')\n",
    "none.py": "x = 1\n",
    "raises.py": "x = 1 / 0\n",
    "exits.py": "import sys\nsys.exit('enough')\n",
    "typo.py": "def f(:\n",
    "trace.json": json.dumps(
        {
            "name": "w",
            "schemaVersion": "1.4",
            "workflow": {
                "tasks": [
                    {"name": "t", "id": "t", "parents": [], "children": [], "runtimeInSeconds": 1}
                ]
            },
        }
    ),
    "input.json": '{"text": "7", "count": 3}',
    "lists.json": "[" * 900 + "]" * 900,
    "threads.jsonl": '{"memory": "support", "thread": "bob", "messages": []}\n{"x": 1}\nnot json\n',
    "big.yaml": "id: big\ndescription: " + "x" * 5_000_000 + "\n",
    "big.json": json.dumps(["x" * 100] * 50_000),
}


def furnish(root: Path, engine: Engine, url: str) -> World:
    """Make files and runs."""
    files = _write_files(root)
    runs = _start_runs(engine)
    session = engine.session
    flow = Flow.load(root / "good.yaml")
    deploy_plan(session, flow.plan(), paths=[root])
    Schedules(session=session).put("nightly", "good", cron="0 0 * * *")
    thread = Memory("support", "alice", session=session)
    thread.add("user", "where is my order")
    names = {
        "name": ["nightly", "nightly", "nobody", "who"],
        "node": ["a", "m", "m/0", "nowhere", "a"],
        "from_node": ["a", "nowhere"],
        "state": ["failed", "running", "paused"],
        "flow": [*files, "good", "good@1", "nobody"],
        "remove": ["nobody@1", "nobody", "good@nope", "@", "a@b@c"],
        "signature": ["one:made", "none:x", "raises:x", "os:getcwd", "x", "none:gone.y"],
        "embed": ["none:x", "os:getcwd", "gone:y"],
        "type": ["wait", "approval", "nothing"],
        "backend": ["native", "a2a", "nothing", "crewai"],
        "query": ["order", ""],
        "cases": ["join", "nothing"],
    }
    return World(
        root=root,
        runs=runs,
        threads=["support/alice", "support/", "support", "x/y/z"],
        tasks=["t1"],
        flows=["good", "good@", "good.yaml", "good.yaml", "one.py", "one.py:made", "one:made"],
        files=files,
        redis=url,
        names=names,
    )


def _write_files(root: Path) -> list[str]:
    for name, text in _FILES.items():
        (root / name).write_bytes(text.encode("latin-1" if name == "latin.yaml" else "utf-8"))
    (root / "directory").mkdir()
    (root / "home").mkdir(exist_ok=True)
    (root / "binary").write_bytes(bytes(range(256)) * 40)
    (root / "nul.yaml").write_bytes(b"id: a\0b\nnodes: {}\n")
    (root / "loop.yaml").symlink_to("loop.yaml")
    (root / "loop.py").symlink_to("loop.py")
    (root / "dangling").symlink_to("nowhere")
    (root / "unreadable.yaml").write_text("id: x\n")
    (root / "unreadable.yaml").chmod(0)
    (root / "locked").mkdir(mode=0o500)
    os.mkfifo(root / "fifo")
    special = [
        "directory",
        "binary",
        "nul.yaml",
        "loop.yaml",
        "loop.py",
        "loop.py:flow",
        "dangling",
    ]
    more = ["unreadable.yaml", "locked/x.yaml", "missing.yaml", "missing.py:flow", "/dev/null", "-"]
    return [
        *_FILES,
        *special,
        *more,
        "/dev/full",
        "fifo",
        "one.py:made",
        "two.py:x",
        "/proc/self/mem",
    ]


def _start_runs(engine: Engine) -> list[str]:
    def start(id: str, nodes: object) -> None:
        engine.start(nodes, run_id=id)  # type: ignore[arg-type]

    echo = {"uses": _NODES + "echo", "with": {"value": {"x": [1, None, "\x1b[31m"]}}}
    fail = {"uses": _NODES + "fail", "with": {"message": "no\nsuch \x1b]0;thing\x07"}}
    nowhere = {**echo, "queue": "nobody-serves-this"}
    start("done", {"a": echo, "b": {"uses": "end", "needs": ["a"]}})
    start("failed", {"a": fail, "b": {"uses": "end", "needs": ["a"]}})
    start(
        "map",
        {"m": {"uses": _NODES + "echo", "for_each": [1, 2], "with": {"value": "${{ item }}"}}},
    )
    start("asks", {"a": {"uses": "approval"}})
    start("waits", {"a": {"uses": "wait", "with": {"for": "1h"}}})
    start("hears", {"a": {"uses": "signal", "with": {"name": "go"}}})
    start("pending", {"a": nowhere})
    start("paused", {"a": nowhere})
    start("cancelled", {"a": nowhere})
    for run in ("done", "failed", "map"):
        Run(run, session=engine.session).wait(60)
    Run("paused", session=engine.session).pause()
    Run("cancelled", session=engine.session).cancel("enough")
    for run in ("asks", "waits", "hears"):
        poll(partial(_waits, Run(run, session=engine.session)), what="a node to wait")
    return [
        "done",
        "failed",
        "map",
        "map/m",
        "asks",
        "waits",
        "hears",
        "pending",
        "paused",
        "cancelled",
    ]


def _waits(run: Run) -> bool:
    return bool(run.record().nodes["a"].waits)
