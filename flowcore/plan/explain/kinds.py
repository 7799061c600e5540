"""KINDS: what sort of node something is, as pictures mark it.

In: a policy. Out: a word, and a sentence for a legend. Not here: how it is drawn.
"""

from collections.abc import Mapping

from flowcore.plan.policy import Policy

__all__ = ["KINDS", "caption", "kind_of"]

#: By word, what a legend says of it. A function of the user's has no word.
KINDS: Mapping[str, str] = {
    "for_each": "a node for each item",
    "loop": "again until its condition holds",
    "parallel": "branches at once",
    "sub-flow": "a run of another flow",
    "closing": "when all others have settled",
    "condition": "chooses the next node",
    "wait": "until a time, without a slot",
    "sleep": "for a time, with a slot",
    "signal": "until it is signalled",
    "approval": "until somebody decides",
    "llm": "asks a language model",
    "http": "asks a server",
    "agent": "asks an agent",
    "tool": "a function by its name",
    "memory": "what outlives runs",
    "celery": "a task of Celery's",
    "start": "the beginning",
    "end": "the end",
    "passthrough": "returns its input",
}

_BODIES = {
    "map": "for_each",
    "loop": "loop",
    "parallel": "parallel",
    "flow": "sub-flow",
    "epilogue": "closing",
}
_TYPES = {
    "map": "for_each",
    "workflow": "sub-flow",
    "switch": "condition",
    "finally": "closing",
}


def kind_of(policy: Policy) -> str:
    """The kind's word; '' for a function of the user's."""
    if policy.body is not None:
        return _BODIES[policy.body.kind]
    prefix, colon, _ = policy.uses.partition(":")
    if colon:
        return prefix if prefix in {"celery", "agent"} else ""
    word = _TYPES.get(policy.uses, policy.uses)
    return word if word in KINDS else ""


def caption(policy: Policy) -> str:
    """Describe in a few words what a node runs, or what its child runs run."""
    body = policy.body
    if body is not None and body.kind == "flow":
        return body.name or policy.uses
    if body is not None and body.kind in {"parallel", "epilogue"} and body.ids:
        return ", ".join(body.ids)
    inner = body.inner[0].uses if body is not None and body.inner else policy.uses
    return inner.rpartition(":")[2] or inner
