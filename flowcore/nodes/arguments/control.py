"""The arguments of nodes that steer: ``start``, ``end``, ``condition``, and those with runs inside.

In: nothing. Out: their models. Not here: what they do (builtin, engine).
"""

from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict

from flowcore.nodes.arguments.model import UNKNOWN, Arguments, Unfinished
from flowcore.nodes.arguments.values import Kind, choice, mapping_of, text, truth

__all__ = ["ConditionArguments", "FreeArguments", "NoArguments"]


class FreeArguments(Arguments):
    """Any arguments: they are the node's output, or the input of the run inside it."""

    model_config = ConfigDict(extra="allow")


class NoArguments(Arguments):
    """No arguments at all."""


def _case() -> Kind:
    plain = truth()

    def read(value: Any) -> Any:
        return UNKNOWN if isinstance(value, Unfinished) else plain(value)

    return Kind(read, {"type": ["string", "boolean"]})


class ConditionArguments(Arguments):
    """Arguments of ``condition``; a case is known when the node runs."""

    cases: Annotated[
        dict[str, bool],
        mapping_of(_case(), "conditions by the names of the nodes to choose from", least=1),
    ]
    default: Annotated[str | None, text("the name of a node")] = None
    match: Annotated[str, choice("first", "all")] = "first"

    may_be_null: ClassVar = frozenset[str]()
    is_shared: ClassVar = True
