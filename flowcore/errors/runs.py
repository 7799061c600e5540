"""Errors about one run. The whole tree is drawn in ``flowcore.errors``."""

from typing import Any

from flowcore.errors.base import FlowcoreError

__all__ = [
    "OrphanError",
    "RunCancelledError",
    "RunError",
    "RunFailedError",
    "RunNotFoundError",
    "RunStateError",
    "RunTimeoutError",
    "WaitTimeoutError",
]


class RunError(FlowcoreError):
    """Something about one run.

    Attributes:
        run_id: The run.
    """

    code = "FC400"

    def __init__(self, message: str, *, run_id: str) -> None:
        """Keep the run's id beside the sentence."""
        self.run_id = run_id
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        """Survive the way to another process, which makes exceptions again from their args."""
        return _revive, (type(self), str(self), self.run_id)


def _revive(kind: type[RunError], message: str, run_id: str) -> RunError:
    error = kind.__new__(kind, message)
    RunError.__init__(error, message, run_id=run_id)
    return error


class RunNotFoundError(RunError):
    """No run has this id."""

    code = "FC401"

    def __init__(self, run_id: str) -> None:
        """Name the id and where to look."""
        super().__init__(
            f"no run has the id {run_id!r}; 'flowcore list' shows those that are kept",
            run_id=run_id,
        )


class RunFailedError(RunError):
    """The run ended as failed."""

    code = "FC402"


class RunCancelledError(RunError):
    """The run was cancelled."""

    code = "FC403"


class RunTimeoutError(RunError):
    """The run passed its deadline."""

    code = "FC404"


class WaitTimeoutError(RunError):
    """The caller stopped waiting; the run goes on."""

    code = "FC405"


class RunStateError(RunError):
    """The run's state does not allow the operation."""

    code = "FC406"


class OrphanError(RunError):
    """The attempt that is to start a run is not running any longer."""

    code = "FC407"
