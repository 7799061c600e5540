"""The backend: an engine that runs a flow. One protocol for all of them.

In: nothing. Out: the protocols. Source: the requirement page. Not here: the result of an execution
(ports.result).
"""

from collections.abc import Awaitable
from typing import Any, Protocol, runtime_checkable

from flowcore.ports.result import ExecutionResult

__all__ = ["ExecutionResult", "IBackend", "IWorkflow"]


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
    """Interface of every backend.

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
