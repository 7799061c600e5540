"""Errors about agents and their tasks. The whole tree is drawn in ``flowcore.errors``."""

from flowcore.errors.base import FlowcoreError

__all__ = [
    "AgentCallLimitError",
    "AgentError",
    "AgentNegotiationError",
    "AgentNotFoundError",
    "AgentTaskError",
    "AgentTaskStateError",
    "AgentWaitError",
]


class AgentError(FlowcoreError):
    """Something about an agent, or one of its tasks."""

    code = "FC700"


class AgentNotFoundError(AgentError):
    """No live agent has this name or skill, or no task this id."""

    code = "FC701"


class AgentNegotiationError(AgentError):
    """The two sides have no protocol version or media type in common."""

    code = "FC702"


class AgentCallLimitError(AgentError):
    """Agents call agents too deep, or in a circle."""

    code = "FC703"


class AgentTaskError(AgentError):
    """A task that was waited for did not complete."""

    code = "FC704"


class AgentTaskStateError(AgentError):
    """The task's state does not allow the operation."""

    code = "FC705"


class AgentWaitError(AgentError):
    """The caller stopped waiting; the task goes on."""

    code = "FC706"
