"""The backend: an engine that runs a flow. One protocol for all of them.

In: nothing. Out: the protocols and the result of an execution. Source: the requirement page.
"""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from flowcore.run.record import NodeRecord
from flowcore.run.status import RunState

__all__ = ["ExecutionResult", "IBackend", "IWorkflow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionResult:
    """What a run came to."""

    success: bool
    output: Any = None
    """Output of the sole last node, or a map of the last nodes' outputs by id."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """Output of every node that succeeded, by id."""
    error: str | None = None
    """Why the run did not succeed, in a sentence."""
    duration: float = 0.0
    """Seconds from the first node's start to the run's end."""
    run_id: str = ""
    state: RunState = RunState.SUCCEEDED
    nodes: Mapping[str, NodeRecord] = field(default_factory=dict)


@runtime_checkable
class IWorkflow(Protocol):
    """A flow bound to a backend.

    One that can be followed and controlled also has ``start(input_data)``, which gives a handle
    with the methods of ``Run``; without it a backend has no streaming, callbacks or control.
    """

    def run(self, input_data: Any = None) -> Awaitable[ExecutionResult]:
        """Execute the workflow once."""
        ...


@runtime_checkable
class IBackend(Protocol):
    """What every backend offers.

    ``create_workflow`` must return something that works both with and without ``await``;
    ``BaseBackend`` subclasses may write it as a coroutine and are called with ``await``.
    """

    def create_workflow(self, config: Any) -> Any:
        """Check a definition and bind it to this backend."""
        ...

    def execute(self, workflow: Any, input_data: Any = None) -> Awaitable[ExecutionResult]:
        """Run a workflow, or a raw definition."""
        ...

    def validate(self, workflow: Any) -> Awaitable[bool]:
        """Say whether a workflow, or a raw definition, could run here."""
        ...
