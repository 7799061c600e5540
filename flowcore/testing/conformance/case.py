"""Cases of the suite, and the operations that they may ask of a backend.

In: a backend. Out: a Subject for cases. Not here: the cases.
"""

import inspect
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowcore.ports.backend import ExecutionResult
from flowcore.ports.capability import Capability

__all__ = ["NODES", "Case", "Mismatch", "Subject", "expect", "uses"]

NODES = "flowcore.testing.nodes"


class Mismatch(AssertionError):  # noqa: N818  (reads as a sentence in a report)
    """A backend does something else than the shared semantics say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A backend under test."""

    backend: Any
    folder: Path
    """For files by which nodes and the case tell each other how far they are."""
    token: str = field(default_factory=lambda: secrets.token_hex(4))
    """Another one for each case, for names that must be new."""

    async def workflow(self, definition: Mapping[str, Any]) -> Any:
        """Bind a definition, whether or not the backend wants to be awaited."""
        made = self.backend.create_workflow(definition)
        return await made if inspect.isawaitable(made) else made

    async def run(
        self, nodes: Mapping[str, Any], input: Any = None, **more: Any
    ) -> ExecutionResult:
        """Run nodes to their end; ``more`` are further keys of the definition."""
        workflow = await self.workflow({"id": "conformance", "nodes": nodes, **more})
        result: ExecutionResult = await self.backend.execute(workflow, input)
        return result

    async def start(self, nodes: Mapping[str, Any], input: Any = None, **more: Any) -> Any:
        """Start a run; give its handle (``start`` of ``ports.backend.IWorkflow``)."""
        workflow = await self.workflow({"id": "conformance", "nodes": nodes, **more})
        return await workflow.start(input)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that every backend with a capability does."""

    name: str
    capability: Capability
    check: Callable[[Subject], Awaitable[None]]
    """Raises Mismatch, or whatever the backend raises."""

    def __str__(self) -> str:
        """Name the case."""
        return self.name


def uses(function: str, *needs: str, **more: Any) -> dict[str, Any]:
    """Write a node: a function of ``testing.nodes``, what it needs, further keys."""
    given = {key: more.pop(key) for key in list(more) if key not in _KEYS}
    node: dict[str, Any] = {"uses": f"{NODES}:{function}", **more}
    if needs:
        node["needs"] = list(needs)
    if given:
        node["with"] = given
    return node


_KEYS = frozenset(
    {"join", "retry", "timeout", "queue", "fallback", "circuit_breaker", "cache", "if"}
    | {"for_each", "tolerated_failures", "until", "max_iterations", "initial"}
)


def expect(found: object, wanted: object, what: str) -> None:
    """Compare.

    Raises:
        Mismatch: They differ.
    """
    if found != wanted:
        raise Mismatch(f"{what}: expected {wanted!r}, got {found!r}")
