"""What a node's function takes.

In: a function. Out: its parameters, as far as giving it arguments goes. Not here: which parameter
gets which (engine.bind).
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = ["Signature", "remembered", "signature_of"]

_T = TypeVar("_T")

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a function takes, as far as binding cares."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    positional: tuple[str, ...] = ()
    """Positional-only parameters, in order; they are in required or optional too."""
    context: tuple[str, ...] = ()
    open: bool = False
    """Takes any further keyword argument."""
    known: bool = True
    """False for callables that do not tell (some written in C)."""


def remembered(read: Callable[[Callable[..., Any]], _T]) -> Callable[[Callable[..., Any]], _T]:
    """Have what is read of a function read once.

    An instance that is called may be unhashable, as most dataclasses are: it is read each time.
    """
    kept = functools.lru_cache(maxsize=4096)(read)

    @functools.wraps(read)
    def recall(function: Callable[..., Any]) -> _T:
        try:
            hash(function)
        except TypeError:
            return read(function)
        return kept(function)

    return recall


@remembered
def signature_of(function: Callable[..., Any]) -> Signature:
    """Read a function's signature once."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return Signature(open=True, known=False)
    named = [p for p in parameters if p.kind in _NAMED or p.kind is p.POSITIONAL_ONLY]
    context = tuple(p.name for p in named if _is_context(p))
    rest = [p for p in named if p.name not in context]
    return Signature(
        required=tuple(p.name for p in rest if p.default is p.empty),
        optional=tuple(p.name for p in rest if p.default is not p.empty),
        positional=tuple(p.name for p in named if p.kind is p.POSITIONAL_ONLY),
        context=context,
        open=any(p.kind is p.VAR_KEYWORD for p in parameters),
    )


def _is_context(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return parameter.name == "ctx"
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return parameter.name == "ctx" or text.split(".")[-1] == "Context"
