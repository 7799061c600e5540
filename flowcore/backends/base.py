"""Base class for authors of backends.

In: the backend's options. Out: an object of the backend protocol. Not here: any engine.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from flowcore.ports.backend import ExecutionResult

__all__ = ["BaseBackend"]


class BaseBackend(ABC):
    """Base of all backends; options arrive as one map."""

    name: ClassVar[str] = ""
    version: ClassVar[str] = "0.1.0"
    features: ClassVar[tuple[str, ...]] = ()
    """What it can do, in the words of the feature matrix."""
    status: ClassVar[str] = "experimental"
    """``stable`` or ``experimental``."""

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        """Keep the options.

        Args:
            config: What was given to ``BackendRegistry.create`` after the name.
        """
        self.config: dict[str, Any] = dict(config or {})

    @abstractmethod
    def create_workflow(self, config: Any) -> Any:
        """Check a definition and bind it to this backend; may be a coroutine."""

    @abstractmethod
    async def execute(self, workflow: Any, input_data: Any = None) -> ExecutionResult:
        """Run a workflow, or a raw definition."""

    @abstractmethod
    async def validate(self, workflow: Any) -> bool:
        """Say whether a workflow, or a raw definition, could run here."""
