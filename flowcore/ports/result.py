"""The result of an execution: what a run came to, and no output of a run that did not succeed.

In: what was recorded of the run. Out: ``ExecutionResult``. Not here: waiting (client.run).

``print(flow.run(…).output)`` is the first program that anybody writes. Of a failed run it has to
end with the run's error, as ``handle.result()`` does, and not with None and exit code 0. So
``output`` is a descriptor over the dataclass's field, as the dataclasses module documents them:
reading it raises unless the run has succeeded. Everything that lays out, compares or copies the
whole result works with the value as it was given: ``repr``, ``==``, ``asdict``, ``astuple``,
``replace``, copies, pickles, pydantic.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic_core import CoreSchema, core_schema

from flowcore.errors import (
    RunCancelledError,
    RunError,
    RunFailedError,
    RunTimeoutError,
    WaitTimeoutError,
)
from flowcore.run.record import NodeRecord
from flowcore.run.status import RunState

__all__ = ["ExecutionResult", "failure_of"]


class _Output:
    """The field ``output``: kept like any other, and read of a run that has succeeded only."""

    def __get__(self, result: "ExecutionResult | None", owner: object = None) -> Any:
        if result is None:
            return None  # the default of the constructor's keyword
        # dataclasses reads the fields of what it lays out or copies one by one, by getattr.
        if not result.success and sys._getframe(1).f_globals is not vars(dataclasses):  # noqa: SLF001
            raise failure_of(result)
        return vars(result)["output"]

    def __set__(self, result: "ExecutionResult", value: Any) -> None:
        vars(result)["output"] = value


@dataclass(frozen=True, kw_only=True, eq=False)
class ExecutionResult:
    """Result of a run.

    Attributes:
        success: Whether the run has succeeded.
        output: Output of the sole last node, or a map of the last nodes' outputs by id. Reading it
            of a run that has not succeeded raises what ``handle.result()`` raises: RunFailedError,
            RunCancelledError, RunTimeoutError, and WaitTimeoutError of one that has not ended.
        outputs: Output of every node that succeeded, by id, whatever the run came to.
        error: Why the run did not succeed, in a sentence.
        duration: Seconds from the first node's start to the run's end.
        run_id: The run's id.
        state: Where the run stands.
        nodes: What is recorded of each node, by id.
    """

    success: bool
    output: Any = _Output()
    outputs: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    duration: float = 0.0
    run_id: str = ""
    state: RunState = RunState.SUCCEEDED
    nodes: Mapping[str, NodeRecord] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Show every field; never raises."""
        shown = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({shown})"

    def __eq__(self, other: object) -> bool:
        """Compare every field; never raises."""
        if type(other) is not type(self):
            return NotImplemented
        return vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # it holds maps

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Self], handler: Callable[[Any], CoreSchema]
    ) -> CoreSchema:
        """Let pydantic, and with it FastAPI, lay out a result that has no output, too."""
        schema = handler(source)
        laid_out = core_schema.plain_serializer_function_ser_schema(
            lambda result: dict(vars(result)), return_schema=core_schema.dict_schema()
        )
        return {**schema, "serialization": laid_out}


def failure_of(result: ExecutionResult) -> RunError:
    """Return the error that stands for a run which has not succeeded."""
    run = f"run {result.run_id!r}" if result.run_id else "the run"
    if result.state.is_terminal:
        kind = _kind_of(result)
        sentence = f"{run}: {result.error or _without_reason(result)}"
    else:
        kind = WaitTimeoutError
        sentence = f"{run} has not ended: it is {result.state.value}"
    hint = f"; 'flowcore status {result.run_id}' shows each node" if result.run_id else ""
    return kind(f"{sentence}{hint}", run_id=result.run_id)


def _kind_of(result: ExecutionResult) -> type[RunError]:
    if result.state is RunState.CANCELLED:
        return RunCancelledError
    if result.error and result.error.startswith("RunTimeoutError"):
        return RunTimeoutError
    return RunFailedError


def _without_reason(result: ExecutionResult) -> str:
    return "it was cancelled" if result.state is RunState.CANCELLED else "it has failed"
