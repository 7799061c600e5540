"""Values of a definition of which a part is worked out later.

In: a value as written. Out: the same, with ``UNKNOWN`` or ``Unfinished`` in the place of texts that
hold expressions. Not here: the rules that let these pass (nodes.types).
"""

from collections.abc import Mapping
from typing import Any

from flowcore.expr.cel import ExpressionSyntaxError
from flowcore.expr.template import OPEN, compile_text
from flowcore.nodes.arguments.model import UNKNOWN, Unfinished

__all__ = ["is_known", "opened"]


def opened(value: Any) -> Any:
    """Put what stands for an unknown value in the place of every text with expressions."""
    if isinstance(value, str):
        return _opened_text(value) if OPEN in value else value
    if isinstance(value, Mapping):
        return {key: opened(item) for key, item in value.items()}
    return [opened(item) for item in value] if isinstance(value, list | tuple) else value


def _opened_text(text: str) -> Any:
    try:
        found = compile_text(text)
    except ExpressionSyntaxError:
        return UNKNOWN  # that is told already
    if not found.expressions:
        return found.render({})
    return UNKNOWN if len(found.parts) == 1 else Unfinished(text)


def is_known(value: Any) -> bool:
    """Say whether a value holds no part that is worked out later."""
    if isinstance(value, Mapping):
        return all(map(is_known, value.values()))
    if isinstance(value, list):
        return all(map(is_known, value))
    return value is not UNKNOWN and not isinstance(value, Unfinished)
