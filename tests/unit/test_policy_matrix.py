"""A node's policies hold whatever its signature, its form and its way of running; in process."""

import importlib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from flowcore import node
from flowcore.engine.attempts.output_validation import model_of
from flowcore.testing import Flows
from tests import policy_matrix
from tests.policy_matrix import Seen

MODULES = Path(__file__).parents[1] / "integration" / "modules"


def _seen(flows: Flows, run: str, outputs: dict[str, Any], id: str) -> Seen:
    """What a node came to, with the attempts of the innermost node that it stands for."""
    node = flows.record(run).nodes[id]
    deepest, at = node, f"{run}/{id}"
    while (record := flows.store.record(at)) is not None:
        (deepest,) = record.nodes.values()
        at = f"{at}/{deepest.id.partition('[')[2].rstrip(']') or deepest.id}"
    skipped = deepest.state.value == "skipped"
    state = deepest.state.value if skipped else node.state.value
    error = node.error.type if node.error else None
    return Seen(state, error, outputs.get(id), deepest.attempts)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", policy_matrix.WAYS)
def test_every_policy_holds_for_every_signature(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(MODULES))
    flows = Flows()
    nodes = importlib.import_module("matrix_nodes")
    monkeypatch.setattr(nodes, "clock", lambda: flows.now)
    result = flows.run(policy_matrix.definition(way))
    outputs: Any = result.outputs
    wrong = policy_matrix.wrong(lambda id: _seen(flows, result.run_id, outputs, id), way)
    assert wrong == []


@pytest.mark.parametrize("signature", policy_matrix.SIGNATURES)
def test_every_signature_undoes_and_runs_at_the_end_under_its_policies(
    signature: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(MODULES))
    given = {"with": {"x": 1}} if signature == "one" else {}
    give = {"uses": f"matrix_nodes:{signature}_give", **given}
    again = {"retry": {"max_attempts": 2, "delay": 0}}
    fail = {"uses": f"matrix_nodes:{signature}_fail", **given, **again}
    nap = {"uses": f"matrix_nodes:{signature}_nap", **given, "timeout": "50ms"}
    instead = {**fail, "fallback": {"value": 7}}
    flows = Flows()
    tree = {
        "nodes": {
            "good": {**give, "undo": give},
            "again": {**give, "undo": instead},
            "late": {**give, "undo": nap},
            "last": {**fail, "needs": ["good", "again", "late"]},
        },
        "on_failure": {"tell": give, "tell-again": instead, "tell-late": nap},
        "finally": {"close": give, "close-again": instead, "close-late": nap},
    }
    result = flows.run(tree)
    assert not result.success
    nodes = flows.record(f"{result.run_id}/finally").nodes
    told = {
        id: (node.state.value, node.attempts, node.error.type if node.error else None)
        for id, node in nodes.items()
    }
    kinds = {
        "good": ("succeeded", 1, None),
        "again": ("succeeded", 2, None),
        "late": ("failed", 1, "NodeTimeoutError"),
    }
    assert told == {
        **{f"undo {kind}": came for kind, came in kinds.items()},
        **{
            f"{part}{'' if kind == 'good' else f'-{kind}'}": came
            for part in ("tell", "close")
            for kind, came in kinds.items()
        },
    }


class Price(BaseModel):
    amount: int


def _priced(n: int = 0) -> Price:
    return Price(amount=n)


async def _priced_later() -> Price:
    return Price(amount=0)


class _Pricing:
    def __call__(self) -> Price:
        return Price(amount=0)

    def method(self) -> Price:
        return Price(amount=0)


@pytest.mark.parametrize(
    "function",
    [
        _priced,
        _priced_later,
        _Pricing(),
        _Pricing().method,
        partial(_priced, n=3),
        node(_priced),
        node(_priced_later),
    ],
    ids=["function", "coroutine", "instance", "method", "partial", "node", "node of a coroutine"],
)
def test_the_model_that_a_function_returns_is_known_whatever_its_form(function: Any) -> None:
    assert model_of(function) is Price
