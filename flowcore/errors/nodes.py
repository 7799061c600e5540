"""Errors about one node. The whole tree is drawn in ``flowcore.errors``."""

from typing import ClassVar

from flowcore.errors.base import FlowcoreError

__all__ = [
    "AnswerError",
    "ApprovalRejectedError",
    "ArgumentError",
    "BindingError",
    "BulkheadFullError",
    "CeleryTaskError",
    "ChildRunError",
    "CircuitOpenError",
    "ExpressionError",
    "HttpStatusError",
    "LoopLimitError",
    "NodeCancelledError",
    "NodeError",
    "NodeExitError",
    "NodeTimeoutError",
    "OutputError",
    "PayloadLostError",
    "PayloadTooLargeError",
    "RecordingError",
    "ResolveError",
    "SecretError",
    "WorkerLostError",
]


class NodeError(FlowcoreError):
    """Something about one node."""

    code = "FC500"

    is_final: ClassVar[bool] = False
    """Whether another attempt would make no sense."""

    retry_after: float | None = None
    """Seconds that have to pass before another attempt, as the other side has asked."""


class ResolveError(NodeError):
    """``uses`` names nothing that can be called here."""

    code = "FC501"


class BindingError(NodeError):
    """A parameter of the node's function has no value."""

    code = "FC502"


class ArgumentError(BindingError):
    """A parameter of the node's function was given what its annotation refuses."""

    code = "FC526"
    is_final = True


class NodeTimeoutError(NodeError):
    """One attempt of a node took longer than its timeout."""

    code = "FC503"


class NodeCancelledError(NodeError):
    """The node was stopped because its run was."""

    code = "FC504"


class WorkerLostError(NodeError):
    """The node's worker died more often than allowed: a dead letter."""

    code = "FC505"


class PayloadTooLargeError(NodeError):
    """An output, or an event that a node emits, is larger than the limit."""

    code = "FC506"


class ExpressionError(NodeError):
    """An expression is wrong, or failed on its data."""

    code = "FC507"


class NodeExitError(NodeError):
    """A node's function raised what would end its worker: ``sys.exit``, ``GeneratorExit``."""

    code = "FC508"


class PayloadLostError(NodeError):
    """A large output or input is not where it was put, or not what was put there."""

    code = "FC509"


class CircuitOpenError(NodeError):
    """A circuit breaker is open: after many failures nothing is tried for a while."""

    code = "FC510"


class BulkheadFullError(NodeError):
    """No place of a limit came free within ``max_wait``."""

    code = "FC511"


class ApprovalRejectedError(NodeError):
    """Somebody has rejected what an ``approval`` node asked; asking again would be rude."""

    code, is_final = "FC512", True


class LoopLimitError(NodeError):
    """A loop has run as often as it may, and its condition does not hold."""

    code = "FC513"
    is_final = True


class ChildRunError(NodeError):
    """A run that a node has started was cancelled, or is no longer kept."""

    code = "FC514"
    is_final = True


class HttpStatusError(NodeError):
    """An HTTP request was answered with a status that is a failure."""

    code = "FC515"

    def __init__(self, message: str, *, again: bool = True, after: float | None = None) -> None:
        """Say what was answered, and whether another attempt may be answered otherwise.

        Args:
            message: What was answered.
            again: Whether another attempt makes sense.
            after: Seconds that it has to wait.
        """
        super().__init__(message)
        self.is_final = not again  # type: ignore[misc]  # of this one, and not of its class
        self.retry_after = after


class AnswerError(NodeError):
    """A server's answer is cut off, damaged, or not of the kind that was asked for."""

    code = "FC524"

    def __init__(self, message: str, *, again: bool = True) -> None:
        """Say what is wrong with it, and whether another attempt may be answered otherwise."""
        super().__init__(message)
        self.is_final = not again  # type: ignore[misc]  # of this one, and not of its class


class CeleryTaskError(NodeError):
    """A Celery task of somebody else, which a node has called, has failed.

    Attributes:
        task_error: The class of the task's own error, with its module where that is known:
            ``retry_on`` and the like may name it. None if nothing is known of it.
    """

    code = "FC516"

    def __init__(self, message: str, *, task_error: str | None = None) -> None:
        """Keep the name of the task's own error beside the sentence."""
        super().__init__(message)
        self.task_error = task_error


class OutputError(NodeError):
    """A node's output does not match its schema or its function's return type."""

    code = "FC517"


class RecordingError(NodeError):
    """A function has ended, but the engine could not record how: a bug in flowcore."""

    code = "FC518"
    is_final = True


class SecretError(NodeError):
    """A secret that a node reads is not there, or may not be read; no message holds its value."""

    code = "FC523"
