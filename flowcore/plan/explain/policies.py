"""The policies of a node, and where each comes from: the definition, or its function's decorator.

In: a policy. Out: words. Not here: how the two are merged (graph.decorators).
"""

from typing import Any

from flowcore.graph.policy import Model
from flowcore.plan.policy import Policy
from flowcore.types import format_duration

__all__ = ["innermost", "policies_of"]

_SHOWN = (
    *("retry", "timeout", "queue", "join", "concurrency", "rate_limit"),
    *("fallback", "circuit_breaker", "cache", "priority", "tags"),
)


def innermost(policy: Policy) -> Policy:
    """The policy of the function itself, inside maps and loops of it."""
    while policy.body is not None and policy.body.kind in {"map", "loop"} and policy.body.inner:
        policy = policy.body.inner[0]
    return policy


def policies_of(policy: Policy) -> dict[str, tuple[Any, str]]:
    """Say what a node has, by name: its value, and who says it.

    Returns:
        ``{"timeout": ("30s", "decorator"), "retry": ({...}, "definition; decorator: delay")}``.
        A policy that the definition leaves out, and no decorator says, is not there.
    """
    policy = innermost(policy)
    unsaid = Policy(uses="")
    return {
        name: (_plain(name, value), _source(name, policy))
        for name in _SHOWN
        if (value := getattr(policy, name)) != getattr(unsaid, name)
    }


def _plain(name: str, value: Any) -> Any:
    if name == "timeout":
        return format_duration(value)
    if isinstance(value, Model):
        # What is as it would be anyway is left out, but something is always said: not ``{}``.
        said = value.model_dump(mode="json", exclude_defaults=True)
        return said or value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, tuple):
        return [_plain("", one) for one in value]
    return value


def _source(name: str, policy: Policy) -> str:
    if name in policy.marked:
        return "decorator"
    parts = [key.partition(".")[2] for key in policy.marked if key.startswith(f"{name}.")]
    return f"definition; decorator: {', '.join(parts)}" if parts else "definition"
