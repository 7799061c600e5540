"""The base of the tree, definitions, calls and backends; ``flowcore.errors`` draws it."""

from collections.abc import Sequence
from typing import ClassVar

__all__ = [
    "BackendError",
    "BlockingCallError",
    "DefinitionError",
    "FlowcoreError",
    "PlannedBackendError",
    "UnknownBackendError",
    "UnsupportedValueError",
    "UsageError",
]


class FlowcoreError(Exception):
    """Base of all flowcore errors; ``code`` is stable across releases."""

    code: ClassVar[str] = "FC000"


class DefinitionError(FlowcoreError):
    """A definition has problems.

    Attributes:
        problems: Every problem found, already rendered for people, in source order.
            ``flowcore.check`` raises a subclass that also carries them as data.
    """

    code = "FC200"

    def __init__(self, problems: Sequence[str]) -> None:
        """Keep the rendered problems and show them all."""
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class UsageError(FlowcoreError):
    """A call that cannot work as written."""

    code = "FC100"


class BlockingCallError(UsageError):
    """A blocking call was made inside a running event loop."""

    code = "FC101"

    def __init__(self, call: str, twin: str) -> None:
        """Name the call and its async twin."""
        self.call, self.twin = call, twin
        super().__init__(f"{call} would block the running event loop; use 'await {twin}' instead")


class UnsupportedValueError(UsageError):
    """A value that the wire format cannot carry."""

    code = "FC102"


class BackendError(FlowcoreError):
    """A backend cannot do what was asked."""

    code = "FC300"


class UnknownBackendError(BackendError):
    """No backend has this name."""

    code = "FC301"


class PlannedBackendError(BackendError):
    """The backend is known but not available in this installation."""

    code = "FC302"
