"""Conversion of what is written in Python to the values of a definition.

In: arguments, policies, ways to choose. Out: trees. Not here: the flow that they go into (builder).
"""

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from flowcore.errors import UsageError
from flowcore.graph.decorators import POLICIES, laid_over, spec_of
from flowcore.graph.import_path import address_of
from flowcore.graph.node_spec import FallbackLike, NodeSpec, Source
from flowcore.graph.operators import (
    Group,
    Linkable,
    NodeFunction,
    Operand,
    Step,
    span_of,
)
from flowcore.graph.policy import Fallback, Model

__all__ = [
    "configured",
    "head_of",
    "items_of",
    "items_tree",
    "merged_arguments",
    "policy_keys",
    "spec_keys",
    "unused",
    "without",
]


def head_of(way: Operand) -> tuple[Step, Group]:
    """The one node that a way begins with."""
    span = span_of(way)
    if len(span.first) != 1:
        names = ", ".join(step.id for step in span.first)
        msg = f"a way to choose begins with one node, not with {names}; put one before them"
        raise UsageError(msg)
    return span.first[0], span


def items_of(id: str, key: str, before: Sequence[str]) -> str:
    """The expression of a list under a key of what the node before gives."""
    if len(before) != 1:
        there = ", ".join(before) or "none"
        msg = (
            f"node {id!r} maps over {key!r} of the node before it, and these are: {there}; "
            "write an expression, such as '${{ split.output.chunks }}'"
        )
        raise UsageError(msg)
    (source,) = before
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", source)
    output = f"{source}.output" if plain else f'nodes["{source}"].output'
    return f"${{{{ {output}.{key} }}}}" if key else f"${{{{ {output} }}}}"


def items_tree(items: Any) -> Any:
    """Return the tree of ``for_each``: a function that gives the items, by its address."""
    if isinstance(items, Source):
        called = items.function
        spec = called.__flowcore__ if isinstance(called, NodeFunction) else NodeSpec(name="")
        said = {"retry": spec.retry, "timeout": spec.timeout, "queue": spec.queue}
        keys = {name: _policy_tree(value) for name, value in said.items() if value is not None}
        given = merged_arguments("for_each", {}, items.arguments)
        return {"uses": address_of(called), **({"with": given} if given else {}), **keys}
    if callable(items):
        return items_tree(Source(function=items, arguments={}))
    return list(items) if isinstance(items, tuple) else items


def unused(name: str, taken: Mapping[str, Any]) -> str:
    """A name like this one that is not taken."""
    number = 1
    while (found := name if number == 1 else f"{name}{number}") in taken:
        number += 1
    return found


def merged_arguments(
    id: str, with_: Mapping[str, Any], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Merge both ways to give arguments."""
    merged = {**with_, **arguments}
    for name, value in merged.items():
        if isinstance(value, Linkable):
            msg = (
                f"argument {name!r} of node {id!r} is a node; for its output write "
                "the text '${{ ID.output }}', with the node's id"
            )
            raise UsageError(msg)
    return merged


def policy_keys(uses: str, spec: NodeSpec, **given: Any) -> dict[str, Any]:
    """The policies of a node as a tree: those given, else the decorator's.

    Of a function that is found under its address, the two are merged inside ``retry`` and its like
    when the definition is checked, as in every spelling; of another one, here.
    """
    own, below = _policy_trees(given), spec_keys(spec)
    return {**below, **own} if spec_of(uses) is spec else laid_over(own, below)


def spec_keys(spec: NodeSpec) -> dict[str, Any]:
    """Return a decorator's spec as a tree."""
    return _policy_trees({name: getattr(spec, name) for name in POLICIES})


def _policy_trees(given: Mapping[str, Any]) -> dict[str, Any]:
    keys = {
        name: _fallback_tree(value) if name == "fallback" else _policy_tree(value)
        for name, value in given.items()
        if value is not None
    }
    if "tags" in keys:
        keys["tags"] = list(keys["tags"])
    return keys


#: What a node says that has none of a policy which its function's decorator says.
_NONE: Mapping[str, Any] = {"tags": [], "join": "all_success"}


def without(uses: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that switch off those policies of a decorator that a node does not have.

    Of a node whose function was decorated once more, or ``configured`` anew: the one that a worker
    finds under its address may say what this one does not.

    Args:
        uses: The function's address.
        said: The policies that it has.
    """
    spec = spec_of(uses)
    below = spec_keys(spec) if spec is not None else {}
    return {name: _NONE.get(name) for name in below if name not in said}


def _fallback_tree(given: FallbackLike | Sequence[FallbackLike] | None) -> Any:
    """Fallbacks as a tree: functions by their addresses."""
    if given is None:
        return None
    several = list(given) if isinstance(given, Sequence) else [given]
    trees = [
        _policy_tree(one) if isinstance(one, Fallback | Mapping) else {"uses": address_of(one)}
        for one in several
    ]
    return trees if isinstance(given, Sequence) else trees[0]


def _policy_tree(policy: Model | Mapping[str, Any] | str | float | None) -> Any:
    """A policy as a tree that says no more than was said."""
    if isinstance(policy, Model):
        return policy.model_dump(mode="json", exclude_unset=True)
    return dict(policy) if isinstance(policy, Mapping) else policy


def configured(
    config: Mapping[str, Any], *, max_parallel: int | None, timeout: float | str | None
) -> dict[str, Any]:
    """Put the short forms where they belong."""
    merged = deepcopy(dict(config))
    short: dict[str, tuple[str, object]] = {
        "max_parallel": ("max_parallel_nodes", max_parallel),
        "timeout": ("timeout_seconds", timeout),
    }
    for name, (key, value) in short.items():
        if value is None:
            continue
        sections = (merged.get("backend_config") or {}, merged.get("execution") or {})
        if any({name, key} & section.keys() for section in sections):
            msg = f"{name!r} is given twice: as a keyword and in 'config'; keep one"
            raise UsageError(msg)
        merged["execution"] = {**sections[1], key: value}
    return merged
