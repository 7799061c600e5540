"""The same plan as a genuine Celery canvas, on the same real worker: the same result."""

from typing import Any

import pytest

from flowcore import Flow
from flowcore.client.flow import start_run
from tests.engine import Engine

ECHO = "engine_nodes:echo"


def _wide(layers: int, width: int) -> dict[str, Any]:
    nodes: dict[str, Any] = {}
    before: list[str] = []
    for layer in range(layers):
        row = [f"l{layer}x{i}" for i in range(width)]
        nodes |= {
            name: {"uses": "engine_nodes:mix", "needs": before, "with": {"salt": index}}
            for index, name in enumerate(row)
        }
        before = row
    return nodes


FLOWS: dict[str, dict[str, Any]] = {
    "a chain": {
        "nodes": {
            f"c{i}": {
                "uses": "engine_nodes:mix",
                "needs": [f"c{i - 1}"] if i else [],
                "with": {"salt": i},
            }
            for i in range(8)
        }
    },
    "three layers of three": {"nodes": _wide(3, 3)},
    "a node that feeds two joins": {
        "nodes": {
            "a": {"uses": "engine_nodes:mix", "with": {"salt": 1}},
            "b": {"uses": "engine_nodes:mix", "with": {"salt": 2}},
            "c": {"uses": "engine_nodes:mix", "needs": ["a", "b"], "with": {"salt": 3}},
            "d": {"uses": "engine_nodes:mix", "needs": ["b"], "with": {"salt": 4}},
            "e": {"uses": "engine_nodes:mix", "needs": ["c", "d"], "with": {"salt": 5}},
        }
    },
    "a fallback": {
        "nodes": {
            "bad": {
                "uses": "engine_nodes:fail",
                "fallback": {"value": [1, 2]},
            },
            "end": {"uses": ECHO, "needs": ["bad"], "with": {"value": "${{ bad.output }}"}},
        },
    },
    "a dead branch": {
        "nodes": {
            "ask": {"uses": ECHO, "with": {"value": 3}},
            "yes_": {"uses": ECHO, "with": {"value": "yes"}},
            "no_": {"uses": ECHO, "with": {"value": "no"}},
            "end": {"uses": ECHO, "needs": ["yes_", "no_"], "with": {"value": "${{ ask.output }}"}},
        },
        "edges": [
            {"from": "ask", "to": "yes_", "when": "ask.output == 3"},
            {"from": "ask", "to": "no_", "when": "ask.output != 3"},
        ],
    },
}


@pytest.mark.parametrize("name", FLOWS)
def test_the_canvas_gives_the_same_output_as_the_native_run(engine: Engine, name: str) -> None:
    flow = Flow.load({"id": "both", **FLOWS[name]})
    native = start_run(engine.session, flow.plan(), {}).wait(60)
    assert native.success, native.error
    canvas = flow.to_canvas({}, session=engine.session)
    sent = canvas.apply_async(queue=engine.session.runtime.default_queue)
    assert sent.get(timeout=60) == native.output
