"""The outputs of a run are a dict whose large values are fetched when they are read."""

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from flowcore.client.outputs import Outputs, PayloadRef
from flowcore.ports.backend import ExecutionResult
from flowcore.run.reference import Reference

REFERENCE = Reference(space="run.0123", digest="ab" * 32, size=1_000_000, place="file:///data")


class Fetch:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        return "large"


@pytest.fixture
def fetch() -> Fetch:
    return Fetch()


@pytest.fixture
def outputs(fetch: Fetch) -> Outputs:
    return Outputs([("a", 1), ("big", PayloadRef(REFERENCE, fetch))])


def test_looking_at_outputs_fetches_nothing(outputs: Outputs, fetch: Fetch) -> None:
    assert list(outputs) == ["a", "big"]
    assert len(outputs) == 2
    assert "big" in outputs
    assert outputs["a"] == 1
    assert outputs.get("b", 5) == 5
    assert repr(outputs) == "{'a': 1, 'big': <payload of 1,000,000 bytes>}"
    assert outputs.with_references()["big"] == {
        "payload": {"bytes": 1_000_000, "sha256": "ab" * 32, "kept_in": "file:///data"}
    }
    assert outputs.only(["big", "c"]).keys() == {"big"}
    assert fetch.calls == 0


def test_a_large_output_is_fetched_once(outputs: Outputs, fetch: Fetch) -> None:
    assert outputs["big"] == outputs.get("big") == "large"
    assert fetch.calls == 1
    assert "payload" in outputs.with_references()["big"], "still named, not shown"


WAYS: dict[str, Callable[[Any], Any]] = {
    "dict": dict,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "stars": lambda it: {**it},
    "items": lambda it: dict(it.items()),
    "values": lambda it: dict(zip(it.keys(), it.values(), strict=True)),
    "method": lambda it: it.copy(),
    "or": lambda it: it | {},
    "ror": lambda it: {} | it,
    "json": lambda it: json.loads(json.dumps(it)),
    "pickle": lambda it: pickle.loads(pickle.dumps(it)),
    "asdict": lambda it: asdict(ExecutionResult(success=True, outputs=it))["outputs"],
    "pop": lambda it: {"big": it.pop("big"), "a": it.pop("a")},
    "popitem": lambda it: dict([it.popitem(), it.popitem()]),
}


@pytest.mark.parametrize("way", WAYS)
def test_whatever_reads_a_dict_gets_the_values(outputs: Outputs, way: str) -> None:
    assert WAYS[way](outputs) == {"a": 1, "big": "large"}


def test_outputs_equal_a_dict_of_the_same_values(outputs: Outputs) -> None:
    assert outputs == {"a": 1, "big": "large"}
    plain = {"a": 1, "big": "large"}
    assert plain == outputs
    assert outputs != {"a": 1}
    assert outputs.pop("c", 7) == 7
