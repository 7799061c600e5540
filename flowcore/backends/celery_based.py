"""Shared part of the backends that run flows on Celery workers.

In: options of the requirement page. Out: workflows that run on Celery workers. Not here: what sets
one of them apart (native, a2a).
"""

from collections.abc import Generator, Mapping
from typing import Any, ClassVar

from flowcore.backends.base import BaseBackend
from flowcore.check.check import check
from flowcore.client.flow import Definition, Flow, document_of
from flowcore.client.run import Run
from flowcore.errors import BackendError, DefinitionError
from flowcore.graph.load import load_tree
from flowcore.ports.backend import ExecutionResult

__all__ = ["CeleryBackend", "Workflow"]


class Workflow:
    """A flow bound to the native backend; usable with and without ``await``."""

    def __init__(self, flow: Flow) -> None:
        """Bind a flow that has been checked."""
        self.flow = flow

    def __await__(self) -> Generator[Any, None, "Workflow"]:
        """``await backend.create_workflow(config)`` gives the workflow itself."""
        yield from ()  # a generator, as ``await`` requires, that never pauses
        return self

    async def run(self, input_data: Any = None) -> ExecutionResult:
        """Execute once and wait for the end."""
        return await self.flow.arun(input_data)

    async def start(self, input_data: Any = None) -> Run:
        """Start a run; its handle streams it, controls it and awaits its end."""
        return await self.flow.aenqueue(input_data)


class CeleryBackend(BaseBackend):
    """Run flows on Celery workers, with Redis as the truth."""

    features: ClassVar[tuple[str, ...]] = (
        "async",
        "structure",
        "streaming",
        "memory",
        "parallel",
        "callbacks",
        "resilience",
        "control",
        "durability",
    )

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        """Keep the options: ``max_parallel``, ``timeout``, ``retry_strategy``.

        Raises:
            BackendError: An option is unknown or has a wrong value.
        """
        super().__init__(config)
        probe = {"nodes": {"probe": {"uses": "start"}}, "config": {"backend_config": self.config}}
        try:
            check(load_tree(probe), resolve=False)
        except DefinitionError as error:
            msg = f"bad options for backend {self.name!r}:\n{error}"
            raise BackendError(msg) from error

    def create_workflow(self, config: Definition) -> Workflow:
        """Check a definition (map, path or Flow) and bind it.

        Raises:
            DefinitionError: It has problems; shows all of them.
        """
        flow = self._flow(config)
        flow.check()
        return Workflow(flow)

    async def execute(self, workflow: Any, input_data: Any = None) -> ExecutionResult:
        """Run a workflow, or a raw definition."""
        bound = workflow if isinstance(workflow, Workflow) else self.create_workflow(workflow)
        return await bound.run(input_data)

    async def validate(self, workflow: Any) -> bool:
        """Say whether a workflow, or a raw definition, could run here."""
        try:
            flow = workflow.flow if isinstance(workflow, Workflow) else self._flow(workflow)
            flow.check()
        except DefinitionError:
            return False
        return True

    def _flow(self, definition: Definition) -> Flow:
        """Give the backend's options to a flow that does not set them itself."""
        if isinstance(definition, Flow) and not self.config:
            return definition
        document = document_of(definition)
        tree = _with_options(document.tree, self.config) if self.config else None
        return Flow.load(tree if tree is not None else _source(definition, document))


def _source(definition: Definition, document: Any) -> Any:
    return definition if isinstance(definition, Mapping | str) else document.tree


def _with_options(tree: Any, options: Mapping[str, Any]) -> Any:
    """Merge options under ``config.backend_config``; the definition's own win."""
    if not isinstance(tree, Mapping):
        return tree
    config = tree.get("config") or {}
    if not isinstance(config, Mapping):
        return tree
    own = config.get("backend_config") or {}
    execution = config.get("execution") or {}
    if not (isinstance(own, Mapping) and isinstance(execution, Mapping)):
        return tree
    aliases = {"max_parallel": "max_parallel_nodes", "timeout": "timeout_seconds"}
    added = {k: v for k, v in options.items() if aliases.get(k) not in execution}
    return {**tree, "config": {**config, "backend_config": {**added, **own}}}
