"""A run that did not succeed has no output: reading it raises; everything else of it works."""

import copy
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, asdict, astuple, fields, replace
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from flowcore import ExecutionResult, Flow, node
from flowcore.errors import (
    RunCancelledError,
    RunError,
    RunFailedError,
    RunTimeoutError,
    WaitTimeoutError,
)
from flowcore.run.record import NodeRecord
from flowcore.run.status import NodeState, RunState
from flowcore.testing import Flows

_NODES = {"a": NodeRecord(id="a", state=NodeState.SUCCEEDED)}


def _result(**more: Any) -> ExecutionResult:
    told = {"success": False, "state": RunState.FAILED, "run_id": "r-1", "outputs": {"a": 1}}
    return ExecutionResult(**{**told, "nodes": _NODES, **more})


FAILED = _result(error="node 'b': ValueError: no such customer")
UNSUCCESSFUL: Mapping[str, tuple[ExecutionResult, type[RunError], str]] = {
    "failed": (FAILED, RunFailedError, "node 'b': ValueError: no such customer"),
    "without a reason": (_result(), RunFailedError, "it has failed"),
    "of a backend that only says so": (
        ExecutionResult(success=False, error="boom"),
        RunFailedError,
        "the run: boom",
    ),
    "cancelled": (
        _result(state=RunState.CANCELLED, error="the run was cancelled"),
        RunCancelledError,
        "the run was cancelled",
    ),
    "timed out": (
        _result(error="RunTimeoutError: the run passed its deadline"),
        RunTimeoutError,
        "the run passed its deadline",
    ),
    **{
        state.value: (_result(state=state), WaitTimeoutError, f"it is {state.value}")
        for state in RunState
        if not state.is_terminal
    },
}


@pytest.mark.parametrize("case", UNSUCCESSFUL)
def test_output_of_a_run_without_success_raises_what_became_of_it(case: str) -> None:
    result, kind, sentence = UNSUCCESSFUL[case]
    with pytest.raises(kind) as raised:
        _ = result.output
    assert sentence in str(raised.value)
    assert raised.value.run_id == result.run_id
    with pytest.raises(kind):
        getattr(result, "output", None)  # no AttributeError: a default would hide the failure


class Page(BaseModel):
    result: ExecutionResult


def _pickled(protocol: int, result: ExecutionResult) -> ExecutionResult:
    again: ExecutionResult = pickle.loads(pickle.dumps(result, protocol))
    return again


WAYS: dict[str, Callable[[ExecutionResult], ExecutionResult]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "replace": replace,
    "asdict": lambda it: ExecutionResult(**{**asdict(it), "nodes": it.nodes}),
    "validated": lambda it: TypeAdapter(ExecutionResult).validate_python(vars(it)),
    **{
        f"pickle {protocol}": partial(_pickled, protocol)
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", [*UNSUCCESSFUL, "succeeded"])
def test_a_result_is_copied_whole_whatever_the_run_came_to(case: str, way: str) -> None:
    result = SUCCEEDED if case == "succeeded" else UNSUCCESSFUL[case][0]
    again = WAYS[way](result)
    assert again == result
    assert repr(again) == repr(result)
    assert again != replace(result, error="something else")


SUCCEEDED = _result(success=True, state=RunState.SUCCEEDED, output={"n": 7})


@pytest.mark.parametrize("case", UNSUCCESSFUL)
def test_a_result_without_success_is_laid_out_like_any_other(case: str) -> None:
    result = UNSUCCESSFUL[case][0]
    assert asdict(result).keys() == asdict(SUCCEEDED).keys()
    assert asdict(result)["output"] is None
    assert asdict(result)["error"] == result.error
    assert len(astuple(result)) == len(astuple(SUCCEEDED)) == len(fields(ExecutionResult))
    assert json.loads(json.dumps(asdict(result)))["state"] == result.state.value
    assert f"error={result.error!r}" in repr(result)
    assert "output=None" in repr(result)


@pytest.mark.parametrize("case", UNSUCCESSFUL)
def test_pydantic_lays_a_result_without_success_out(case: str) -> None:
    result = UNSUCCESSFUL[case][0]
    for dumped in (
        json.loads(TypeAdapter(ExecutionResult).dump_json(result)),
        TypeAdapter(ExecutionResult).dump_python(result, mode="json"),
        Page(result=result).model_dump(mode="json")["result"],
        json.loads(Page(result=result).model_dump_json())["result"],
    ):
        assert dumped["error"] == result.error
        assert dumped["output"] is None
        assert dumped["state"] == result.state.value
        assert dumped["outputs"] == result.outputs


def test_a_result_of_success_is_what_it_was() -> None:
    assert SUCCEEDED.output == {"n": 7}
    assert asdict(SUCCEEDED)["output"] == {"n": 7}
    assert replace(FAILED, success=True, output=3).output == 3
    assert ExecutionResult(success=True).output is None
    dumped = TypeAdapter(ExecutionResult).dump_python(SUCCEEDED, mode="json")
    assert dumped["output"] == {"n": 7}
    assert dumped["nodes"]["a"]["state"] == "succeeded"
    with pytest.raises(FrozenInstanceError):
        SUCCEEDED.output = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        hash(SUCCEEDED)


def test_a_frozen_result_keeps_what_an_engine_gave_of_a_failed_run() -> None:
    """Reading raises; what lays out the whole result shows what the engine has told."""
    result = _result(output={"a": 1})
    with pytest.raises(RunFailedError):
        _ = result.output
    assert asdict(result)["output"] == {"a": 1}
    assert replace(result, success=True).output == {"a": 1}


# ── the test kit ────────────────────────────────────────────────────────────────────────────────


@node
def refuse() -> int:
    raise ValueError("no such customer")


def _flow(nodes: Mapping[str, Any], **more: Any) -> Flow:
    return Flow.load({"id": "kit", "nodes": nodes, **more})


def test_the_test_kit_raises_of_a_failed_run(flows: Flows) -> None:
    with Flow("kit") as flow:
        refuse.step(id="ask")
    result = flows.run(flow)
    with pytest.raises(RunFailedError, match="node 'ask': ValueError: no such customer"):
        _ = result.output
    assert result.outputs == {}


def test_the_test_kit_raises_of_a_run_that_has_not_ended(flows: Flows) -> None:
    run = flows.start(_flow({"w": {"uses": "wait", "with": {"for": "1h"}}}))
    with pytest.raises(WaitTimeoutError, match="has not ended"):
        _ = run.result().output
    run.cancel("enough")
    with pytest.raises(RunCancelledError):
        _ = run.result().output


def test_the_test_kit_raises_of_a_run_that_passed_its_deadline(flows: Flows) -> None:
    flow = _flow(
        {"w": {"uses": "wait", "with": {"for": "1h"}}}, config={"execution": {"timeout_seconds": 1}}
    )
    with pytest.raises(RunTimeoutError):
        _ = flows.run(flow).output


def test_the_test_kit_raises_of_a_run_whose_child_failed(flows: Flows) -> None:
    flows.fail("inner", ValueError("no such customer"))
    inner = {"id": "sub", "nodes": {"inner": {"uses": "start"}}}
    result = flows.run(_flow({"outer": {"uses": "workflow", "flow": inner}}))
    with pytest.raises(RunFailedError, match="no such customer"):
        _ = result.output
