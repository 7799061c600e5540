"""Defaults that a function's decorator gives its nodes, wherever the function is used.

In: the name of a function, what a definition says of a node. Out: the policies of both, merged.
Not here: importing modules (nodes.resolve), applying policies (engine).

The definition wins key by key, inside ``retry`` and its like too; its ``null`` says none.
"""

import sys
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from flowcore.graph.node_spec import NodeSpec
from flowcore.graph.policy import (
    Cache,
    CircuitBreaker,
    Concurrency,
    Model,
    RateLimit,
    Retry,
)

__all__ = ["MERGED", "POLICIES", "is_imported", "laid_over", "marked_keys", "spec_of"]

#: Keys of a node that its function's decorator may say.
POLICIES = (
    *("retry", "timeout", "queue", "join", "concurrency", "rate_limit"),
    *("fallback", "circuit_breaker", "cache", "priority", "tags"),
)

#: Those with keys of their own, which are merged one by one.
MERGED: Mapping[str, type[Model]] = {
    "retry": Retry,
    "concurrency": Concurrency,
    "rate_limit": RateLimit,
    "circuit_breaker": CircuitBreaker,
    "cache": Cache,
}

#: The attribute that ``@node`` leaves on a function.
_MARK = "__flowcore__"


def is_imported(uses: str) -> bool:
    """Return whether this process has imported the module of a ``module:callable``."""
    return uses.partition(":")[0] in sys.modules


def spec_of(uses: str) -> NodeSpec | None:
    """Return the decorator's spec of a ``module:callable``; None if it has none.

    It imports nothing, and runs nothing: of a module that is not here nothing is known.
    """
    module, _, names = uses.partition(":")
    found: Any = sys.modules.get(module)
    for name in names.split("."):
        found = getattr(found, "__dict__", {}).get(name)
    spec = getattr(found, "__dict__", {}).get(_MARK)
    return spec if isinstance(spec, NodeSpec) else None


def laid_over(own: Mapping[str, Any], below: Mapping[str, Any]) -> dict[str, Any]:
    """Lay what a node says over what its function's decorator says.

    Args:
        own: Policies as the definition has them.
        below: The decorator's, as a definition would have them.

    Returns:
        The policies that the node has; only those that one of the two says.
    """
    merged = {**below, **own}
    for name in MERGED.keys() & own.keys() & below.keys():
        first, second = _keys(name, below[name]), _keys(name, own[name])
        if first is not None and second is not None:
            merged[name] = {**first, **second}
    return merged


def marked_keys(merged: Mapping[str, Any], below: Mapping[str, Any]) -> tuple[str, ...]:
    """The policies that a node has as its function's decorator says them.

    Args:
        merged: The node's.
        below: The decorator's.

    Returns:
        Names, such as ``timeout``, and ``retry.delay`` of a policy of which the definition says
        another part. What both say alike counts as the decorator's: a flow that is built in Python
        says what its decorators say.
    """
    names: list[str] = []
    for name, value in below.items():
        if name not in merged:
            continue
        if merged[name] == value:
            names.append(name)
        elif name in MERGED:
            first, last = _keys(name, value) or {}, _keys(name, merged[name]) or {}
            alike = [key for key in first if last.get(key) == first[key]]
            whole = first == last
            names += [name] if whole else [f"{name}.{key}" for key in alike]
    return tuple(names)


def _keys(name: str, value: Any) -> dict[str, Any] | None:
    """A policy with its short form spelled out; None of what says none, or is none."""
    if value is None:
        return None
    try:
        return MERGED[name].model_validate(value).model_dump(mode="json", exclude_unset=True)
    except ValidationError:
        return None
