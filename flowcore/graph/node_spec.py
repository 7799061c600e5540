"""Specs of functions: of a node, and of a source that gives a map its items.

In: nothing. Out: NodeSpec, Source, the types of what may stand for a policy in Python. Not here:
functions as nodes (operators), trees of a definition (serialize).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from flowcore.graph.policy import (
    Cache,
    CircuitBreaker,
    Concurrency,
    Fallback,
    Join,
    RateLimit,
    Retry,
)

__all__ = ["BreakerLike", "CacheLike", "FallbackLike", "Items", "NodeSpec", "Source"]

#: What may stand for a policy in Python.
FallbackLike: TypeAlias = Fallback | Mapping[str, Any] | Callable[..., Any]
BreakerLike: TypeAlias = CircuitBreaker | Mapping[str, Any] | int
CacheLike: TypeAlias = Cache | Mapping[str, Any] | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """Options of ``@node`` for a function; None: not set."""

    name: str
    """The id it gets in a flow unless told otherwise."""
    retry: Retry | Mapping[str, Any] | None = None
    timeout: float | str | None = None
    queue: str | None = None
    join: Join | None = None
    concurrency: Concurrency | Mapping[str, Any] | int | None = None
    rate_limit: RateLimit | Mapping[str, Any] | str | None = None
    fallback: FallbackLike | Sequence[FallbackLike] | None = None
    circuit_breaker: BreakerLike | None = None
    cache: CacheLike | None = None
    priority: int | None = None
    tags: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A function that gives a map its items; made by ``NodeFunction.source``."""

    function: Callable[..., Any]
    arguments: Mapping[str, Any]


#: What a node may run for each of: a list, an expression or a key that stands for one, a function.
Items: TypeAlias = Sequence[Any] | str | Mapping[str, Any] | Source | Callable[..., Any]
