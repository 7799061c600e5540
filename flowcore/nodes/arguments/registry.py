"""The model of the arguments of each built-in node type.

In: nothing. Out: models by the name that ``uses`` gives. Not here: the types (builtin).
"""

from collections.abc import Mapping

from flowcore.nodes.arguments.calls import HttpArguments, LlmArguments, TaskArguments, ToolArguments
from flowcore.nodes.arguments.control import ConditionArguments, FreeArguments, NoArguments
from flowcore.nodes.arguments.conversation import MemoryArguments
from flowcore.nodes.arguments.model import Arguments
from flowcore.nodes.arguments.waiting import (
    ApprovalArguments,
    SignalArguments,
    SleepArguments,
    WaitArguments,
)

__all__ = ["ARGUMENTS", "arguments_of"]

#: By type, the model of its arguments.
ARGUMENTS: Mapping[str, type[Arguments]] = {
    "start": NoArguments,
    "end": FreeArguments,
    "passthrough": FreeArguments,
    "sleep": SleepArguments,
    "wait": WaitArguments,
    "signal": SignalArguments,
    "approval": ApprovalArguments,
    "memory": MemoryArguments,
    "http": HttpArguments,
    "llm": LlmArguments,
    "tool": ToolArguments,
    "condition": ConditionArguments,
    "switch": ConditionArguments,
    "workflow": FreeArguments,
    "for_each": FreeArguments,
    "map": FreeArguments,
    "loop": FreeArguments,
    "parallel": NoArguments,
}


def arguments_of(uses: str) -> type[Arguments] | None:
    """The model of what a node takes; None for functions, which have a signature."""
    return TaskArguments if uses.startswith("celery:") else ARGUMENTS.get(uses)
