"""The shapes that break Celery's own canvas, and the size of messages."""

import json
from pathlib import Path
from typing import Any

import pytest
from kombu.message import Message

from flowcore import Flow
from flowcore.client.flow import start_run
from flowcore.stores.redis.connection.connect import connect
from tests.engine import Engine, running_engine
from tests.services import running_valkey

UPSTREAM = "engine_nodes:echo"


def _node(before: list[str]) -> dict[str, Any]:
    """A node whose output is one more than the largest of its predecessors' outputs."""
    if not before:
        return {"uses": UPSTREAM, "with": {"value": 1}}
    largest = " ".join(f"{name}.output" for name in before[:1])
    return {"uses": UPSTREAM, "needs": before, "with": {"value": f"${{{{ {largest} + 1 }}}}"}}


def chain(count: int) -> dict[str, Any]:
    return {f"n{i}": _node([f"n{i - 1}"] if i else []) for i in range(count)}


def fan(count: int) -> dict[str, Any]:
    middle = {f"m{i}": _node(["a"]) for i in range(count)}
    return {"a": _node([]), **middle, "z": _node(list(middle))}


def layered(layers: int, width: int) -> dict[str, Any]:
    nodes: dict[str, Any] = {}
    before: list[str] = []
    for layer in range(layers):
        row = [f"l{layer}x{i}" for i in range(width)]
        nodes |= {name: _node(before) for name in row}
        before = row
    return nodes


def ladder(count: int) -> dict[str, Any]:
    nodes = {"a0": _node([]), "b0": _node([])}
    for i in range(1, count):
        nodes[f"a{i}"] = _node([f"a{i - 1}"])
        nodes[f"b{i}"] = _node([f"b{i - 1}", f"a{i - 1}"])
    return nodes


SHAPES = {
    "a chain of 1,000": (chain(1000), 1000),
    "a fan-out of 1,000": (fan(1000), 3),
    "20 layers of 50": (layered(20, 50), 20),
    "a ladder of 500": (ladder(500), 500),
}


@pytest.mark.both_brokers
@pytest.mark.timeout(300)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_shape_completes_with_the_right_outputs(engine: Engine, shape: str) -> None:
    nodes, depth = SHAPES[shape]
    plan = Flow.load({"id": "shape", "nodes": nodes}).plan()
    result = start_run(engine.session, plan).wait(timeout=240)
    assert result.success, result.error
    assert len(result.outputs) == len(nodes)
    assert {name: value - 1 for name, value in result.outputs.items()} == {
        plan.ids[i]: level for i, level in enumerate(plan.levels)
    }
    assert max(result.outputs.values()) == depth
    assert {node.attempts for node in result.nodes.values()} == {1}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_message_stays_under_one_and_a_half_kilobytes(engine: Engine, shape: str) -> None:
    nodes, _ = SHAPES[shape]
    quiet = {name: {**tree, "queue": "nobody"} for name, tree in nodes.items()}
    plan = Flow.load({"id": "shape", "nodes": quiet}).plan()
    handle = start_run(engine.session, plan)
    sizes = [_size(message) for message in engine.take_messages("nobody")]
    handle.cancel()
    assert sizes
    assert max(sizes) < 1500


def _size(message: Message) -> int:
    """Bytes of what carries anything; Redis wraps that in some 200 more."""
    return len(message.body or "") + len(json.dumps([message.headers, message.properties]))


def test_a_chain_needs_few_messages_and_one_per_node_when_told_so(tmp_path: Path) -> None:
    plan = Flow.load({"id": "shape", "nodes": chain(40)}).plan()
    counts = {}
    for work_first in ("on", "off"):
        with (
            running_valkey() as url,
            running_engine(url, tmp_path, work_first=work_first) as other,
        ):
            other.workers()
            redis = connect(url)
            redis.config_resetstat()
            assert start_run(other.session, plan).wait(60).success
            counts[work_first] = redis.info("commandstats")["cmdstat_lpush"]["calls"]
    assert counts["off"] >= 40
    assert counts["on"] <= 10
