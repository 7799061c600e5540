"""Signature of a node's function.

In: a function. Out: its parameters, as far as giving it arguments goes. Not here: which parameter
gets which (engine.attempts.binding).
"""

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flowcore.nodes.context import Context

__all__ = ["Signature", "remembered", "signature_of"]

_T = TypeVar("_T")

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Parameters of a function, as far as binding needs them."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    positional: tuple[str, ...] = ()
    """Positional-only parameters, in order; they are in required or optional too."""
    context: tuple[str, ...] = ()
    open: bool = False
    """Takes any further keyword argument."""
    defaults: tuple[tuple[str, Any], ...] = ()
    """Of positional-only parameters that need not be given: what stands for one that is not, should
    a later one be."""
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
            return kept(function)
        except TypeError:
            if _is_hashable(function):
                raise  # it comes from what reads it
            return read(function)

    return recall


def _is_hashable(thing: object) -> bool:
    try:
        hash(thing)
    except TypeError:
        return False
    return True


@remembered
def signature_of(function: Callable[..., Any]) -> Signature:
    """Read a function's signature once."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return Signature(open=True, known=False)
    named = [p for p in parameters if p.kind in _NAMED or p.kind is p.POSITIONAL_ONLY]
    context = tuple(p.name for p in named if _is_context(p, function))
    rest = [p for p in named if p.name not in context]
    positional = [p for p in named if p.kind is p.POSITIONAL_ONLY]
    return Signature(
        required=tuple(p.name for p in rest if p.default is p.empty),
        optional=tuple(p.name for p in rest if p.default is not p.empty),
        positional=tuple(p.name for p in positional),
        context=context,
        open=any(p.kind is p.VAR_KEYWORD for p in parameters),
        defaults=tuple((p.name, p.default) for p in positional if p.default is not p.empty),
    )


def _is_context(parameter: inspect.Parameter, function: Callable[..., Any]) -> bool:
    annotation = parameter.annotation
    if parameter.name == "ctx":
        return True
    if annotation is parameter.empty:
        return False
    if isinstance(annotation, str):
        return _names_context(annotation, function)
    return annotation is Context or Context in typing.get_args(annotation)


def _names_context(annotation: str, function: Callable[..., Any]) -> bool:
    """Return whether an annotation that is still text means our Context, not a namesake."""
    plain = annotation.partition("|")[0].removeprefix("Optional[").rstrip("] ").strip()
    first, *more = plain.split(".")
    if (more or [first])[-1] != Context.__name__:
        return False
    found = getattr(inspect.unwrap(function), "__globals__", {}).get(first, Context)
    for name in more:
        found = getattr(found, name, Context)
    return found is Context
