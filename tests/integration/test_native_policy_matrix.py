"""A node's policies hold whatever its signature, its form and its way of running; on real workers.

All ways of running are in ``tests/unit/test_policy_matrix.py``, on the same engine in process.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from flowcore import Flow, Run
from flowcore.backends.a2a import A2ABackend
from flowcore.client.flow import start_run
from flowcore.errors import UsageError
from tests import policy_matrix, typed_matrix
from tests.engine import Engine
from tests.integration.conftest import MakeEngine
from tests.policy_matrix import SIGNATURES, Seen

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def agents(make_engine: MakeEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A worker that hosts nodes' agents."""
    with make_engine(tmp_path_factory.mktemp("a2a"), heartbeat="0.25") as engine:
        engine.workers(pool="threads", slots=4, queues="a2a-nodes")
        yield engine


def _wrong(
    engine: Engine, run: Run, way: str, wrong: Callable[..., list[str]] = policy_matrix.wrong
) -> list[str]:
    result = run.wait(120)
    outputs: Any = result.outputs

    def see(id: str) -> Seen:
        node = result.nodes[id]
        deepest, inside = node, engine.session.runtime.reader.record(f"{run.id}/{id}")
        if inside is not None:
            (deepest,) = inside.nodes.values()
        skipped = deepest.state.value == "skipped"
        state = deepest.state.value if skipped else node.state.value
        error = node.error.type if node.error else None
        return Seen(state, error, outputs.get(id), deepest.attempts)

    return wrong(see, way)


@pytest.mark.parametrize("way", ["plain", "map", "loop"])
def test_every_policy_holds_for_every_signature(engine: Engine, way: str) -> None:
    tree = policy_matrix.definition(way)
    run = start_run(engine.session, Flow.load(tree).plan())
    assert _wrong(engine, run, way) == []


def test_every_policy_holds_in_a_unit(engine: Engine) -> None:
    """Many nodes, of which a worker takes several at a time: those that may share a message."""
    nodes: dict[str, Any] = {"begin": {"uses": "matrix_nodes:bare_give"}}
    for signature in SIGNATURES:
        for at in range(10):
            given = {"with": {"x": 1}} if signature == "one" else {}
            about = {**given, "needs": ["begin"]}
            give, fail = f"matrix_nodes:{signature}_give", f"matrix_nodes:{signature}_fail"
            retry = {"retry": {"max_attempts": 2, "delay": 0}}
            nodes |= {
                f"{signature}.{at}.good": {"uses": give, **about},
                f"{signature}.{at}.bad": {"uses": give, "output": {"type": "null"}, **about},
                f"{signature}.{at}.again": {"uses": fail, **retry, **about},
                f"{signature}.{at}.instead": {"uses": fail, "fallback": {"value": 7}, **about},
                f"{signature}.{at}.never": {"uses": fail, "if": "1 == 2", **about},
            }
    result = engine.run(nodes, config={"execution": {"fail_fast": False}})
    told = {
        "good": ("succeeded", None, 1),
        "bad": ("failed", "OutputError", 1),
        "again": ("failed", "ConnectionError", 2),
        "instead": ("succeeded", None, 1),
        "never": ("skipped", None, 1),
    }
    wrong = {
        id: found
        for id, node in result.nodes.items()
        if id != "begin"
        and (found := (node.state.value, node.error.type if node.error else None, node.attempts))
        != told[id.rpartition(".")[2]]
    }
    assert wrong == {}


@pytest.mark.parametrize("way", ["plain", "map", "loop", "sub-flow", "branch"])
def test_every_policy_holds_for_every_signature_on_agents(agents: Engine, way: str) -> None:
    tree = policy_matrix.definition(way, queue=None)
    workflow = A2ABackend().create_workflow(tree)
    run = start_run(agents.session, workflow.flow.plan())
    assert _wrong(agents, run, f"a2a {way}") == []


@pytest.mark.parametrize("way", ["plain", "map", "loop"])
def test_every_form_gets_its_parameters_checked(engine: Engine, way: str) -> None:
    """Those that share a message, and those (with a timeout) that have one of their own."""
    run = start_run(engine.session, Flow.load(typed_matrix.definition(way)).plan())
    assert _wrong(engine, run, way, typed_matrix.wrong) == []


def test_every_form_gets_its_parameters_checked_on_agents(agents: Engine) -> None:
    workflow = A2ABackend().create_workflow(typed_matrix.definition("plain"))
    run = start_run(agents.session, workflow.flow.plan())
    assert _wrong(agents, run, "a2a", typed_matrix.wrong) == []


def test_every_form_gets_its_parameters_checked_in_a_canvas(engine: Engine) -> None:
    tree = typed_matrix.definition("plain")
    seen = {
        f"{id}-seen": {
            "uses": "passthrough",
            "with": {"state": f"${{{{ nodes['{id}'].state }}}}"},
            "needs": [id],
            "join": "all_done",
        }
        for id in tree["nodes"]
    }
    canvas = Flow.load({**tree, "nodes": {**tree["nodes"], **seen}}).to_canvas(
        {}, session=engine.session
    )
    sent = canvas.apply_async(queue=engine.session.runtime.default_queue)
    states = {id: one["state"] for id, one in sent.get(timeout=100).items()}
    assert states == {
        id: "failed" if id.startswith(("bad", "deep")) else "succeeded" for id in states
    }
    assert len(states) == len(seen)


def test_every_policy_that_a_canvas_can_keep_holds_in_one(engine: Engine) -> None:
    """What failed is seen by a node after it: a canvas has no record."""
    nodes: dict[str, Any] = {}
    told: dict[str, Any] = {}
    for signature in SIGNATURES:
        given = {"with": {"x": 1}} if signature == "one" else {}
        cells: Mapping[str, tuple[dict[str, Any], Any]] = {
            "good": ({"uses": "give", "tags": ["t"]}, "succeeded"),
            "late": ({"uses": "nap", "timeout": "50ms"}, "failed"),
            "bad": ({"uses": "give", "output": {"type": "null"}}, "failed"),
            "instead": ({"uses": "fail", "fallback": {"value": 7}}, "succeeded"),
        }
        for name, (keys, state) in cells.items():
            id = f"{signature}-{name}"
            uses = f"matrix_nodes:{signature}_{keys['uses']}"
            nodes[id] = {**keys, "uses": uses, **given}
            seen = {"state": f"${{{{ nodes['{id}'].state }}}}"}
            nodes[f"{id}-seen"] = {
                "uses": "passthrough",
                "with": seen,
                "needs": [id],
                "join": "all_done",
            }
            told[f"{id}-seen"] = {"state": state}
    nodes["again"] = {
        "uses": "engine_nodes:fail_until",
        "with": {"attempt": 2},
        "retry": {"max_attempts": 2, "delay": 0},
        "queue": engine.session.runtime.settings.queue,
    }
    told["again"] = 2
    canvas = Flow.load({"id": "c", "nodes": nodes}).to_canvas({}, session=engine.session)
    sent = canvas.apply_async(queue=engine.session.runtime.default_queue)
    assert sent.get(timeout=100) == told


@pytest.mark.parametrize(
    ("keys", "more", "said"),
    [
        ({"concurrency": 1}, {}, "node 'a' has concurrency"),
        ({"rate_limit": "1/s"}, {}, "node 'a' has rate_limit"),
        ({"circuit_breaker": 1}, {}, "node 'a' has circuit_breaker"),
        ({"cache": "1h"}, {}, "node 'a' has cache"),
        ({"if": "true"}, {}, "node 'a' has 'if'"),
        ({"priority": 7}, {}, "node 'a' has 'priority'"),
        ({"fallback": {"uses": "shop:guess"}}, {}, "node 'a' has a fallback with 'uses'"),
        ({"for_each": [1]}, {}, "node 'a' has 'for_each'"),
        ({"max_iterations": 2}, {}, "node 'a' has 'until' or 'max_iterations'"),
        ({"uses": "wait", "with": {"for": "1s"}}, {}, "node 'a' has 'uses: wait'"),
        ({"uses": "approval"}, {}, "node 'a' has 'uses: approval'"),
        ({"uses": "celery:shop.charge"}, {}, "node 'a' has 'uses: celery:shop.charge'"),
        ({"uses": "parallel", "branches": {"x": {"uses": "end"}}}, {}, "node 'a' has 'branches'"),
        ({"uses": "workflow", "flow": {"nodes": {"x": {"uses": "end"}}}}, {}, "has a sub-flow"),
        ({"undo": {"uses": "end"}}, {}, "flow 'f' has 'undo'"),
        ({}, {"finally": {"x": {"uses": "end"}}}, "flow 'f' has 'finally'"),
        ({}, {"on_failure": {"x": {"uses": "end"}}}, "flow 'f' has 'on_failure'"),
        ({}, {"config": {"execution": {"timeout": 9}}}, "flow 'f' has 'timeout'"),
        ({}, {"config": {"execution": {"max_parallel": 9}}}, "flow 'f' has 'max_parallel'"),
    ],
)
def test_what_a_canvas_cannot_keep_is_refused_by_name(
    engine: Engine, keys: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    flow = Flow.load(
        {"id": "f", "nodes": {"a": {"uses": "matrix_nodes:bare_give", **keys}}, **more}
    )
    with pytest.raises(UsageError, match=said):
        flow.to_canvas({}, session=engine.session)
