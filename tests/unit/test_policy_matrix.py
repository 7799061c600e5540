"""A node's policies hold whatever its signature, its form and its way of running; in process."""

import importlib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from flowcore import node
from flowcore.engine.giving import model_of
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
