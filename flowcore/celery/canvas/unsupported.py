"""Features that a Celery canvas lacks: refused by name before any message is sent.

In: a plan. Out: nothing, or UsageError. Not here: the canvas itself (export).

A canvas has no run: nothing can wait in it without a worker, nothing inside it can be a run of its
own, and nobody keeps what all workers share.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import MISSING, fields

from flowcore.errors import UsageError
from flowcore.expr.secrets import secrets_in
from flowcore.nodes.types.celery_task import PREFIX
from flowcore.plan.plan import Plan
from flowcore.plan.policy import Policy

__all__ = ["SIGNATURE_BYTES", "refuse_large", "refuse_unkept"]

#: Chords in a row. Measured with Celery 5.7, Redis and two workers: 150 arrive, 250 never do.
MAX_CHORDS = 100
#: Bytes that go to the broker and the result backend for one canvas; 100 MB took 16 s (300 nodes).
MAX_BYTES = 100_000_000
#: Measured: what one later signature adds to each message, the copy that Celery stores included.
SIGNATURE_BYTES = 1_300

_INSTEAD = "run the flow on the native backend (flow.run, flow.enqueue)"

#: What a canvas keeps of a flow. Everything else that a plan says is refused, so that what a later
#: release adds is, too: it is put here once a canvas has it.
_KEPT_OF_PLAN = frozenset(
    {"hash", "flow", "version", "ids", "params", "policies", "policy_of", "pred", "succ", "when"}
    | {"levels", "inputs", "fail_fast", "spared"}
    # These are about runs, of which there is none: nobody looks for it, or follows it.
    | {"tags", "streaming", "buffer_size"}
)
#: The same of a node's policy.
_KEPT_OF_POLICY = frozenset(
    {"uses", "retry", "timeout", "queue", "join", "output", "tags", "idempotency_key", "own"}
    | {"marked"}
)
#: The same of built-in types: those that are called like functions.
_KEPT_TYPES = frozenset(
    {"start", "end", "passthrough", "sleep", "http", "llm", "tool", "condition", "switch"}
)

#: Other words for fields than their names in quotes.
_WORDS = {
    **{name: name for name in ("concurrency", "rate_limit", "circuit_breaker", "cache")},
    "condition": "'if'",
    "scope": "what another node has started",
}
_BODIES = {
    "map": "'for_each'",
    "loop": "'until' or 'max_iterations'",
    "flow": "a sub-flow",
    "parallel": "'branches'",
}


def refuse_unkept(plan: Plan) -> None:
    """Refuse a plan that says what a canvas cannot keep.

    Raises:
        UsageError: Names the node, or the flow, and all that it has.
    """
    if found := list(_said(plan, _KEPT_OF_PLAN)):
        _refuse(f"flow {plan.flow!r} has {', '.join(found)}")
    for node, name in enumerate(plan.ids):
        policy = plan.policy(node)
        if node == plan.epilogue:
            _refuse(f"flow {plan.flow!r} has {', '.join(_closing(policy)) or 'an end'}")
        found = list(_unkept(policy))
        if secrets_in(plan.params[node]):
            found.append("secrets")
        if found:
            _refuse(f"node {name!r} has {', '.join(found)}")


def _refuse(what: str) -> None:
    raise UsageError(f"{what}, which a Celery canvas cannot keep: {_INSTEAD}")


def _said(thing: Plan | Policy, kept: Collection[str]) -> Iterator[str]:
    """The names of what is said beside what is kept."""
    for field in fields(thing):
        unsaid = field.default if field.default_factory is MISSING else field.default_factory()
        is_own = field.name.startswith("_") or field.name in kept
        if not is_own and getattr(thing, field.name) != unsaid:
            yield _WORDS.get(field.name, repr(field.name))


def _unkept(policy: Policy) -> Iterator[str]:
    """Yield the unsupported features of one node."""
    is_function = ":" in policy.uses and not policy.uses.startswith(PREFIX)
    if policy.body is not None:
        yield _BODIES.get(policy.body.kind, repr(policy.body.kind))
    elif not is_function and policy.uses not in _KEPT_TYPES:
        yield f"'uses: {policy.uses}'"
    yield from _said(policy, _KEPT_OF_POLICY | {"body", "fallback"})
    if any(one.uses is not None for one in policy.fallback[:1]):
        yield "a fallback with 'uses'"


def _closing(policy: Policy) -> Iterator[str]:
    """Yield the keys of the nodes that run at the end of a flow."""
    body = policy.body
    if body is None:
        return
    if body.ids:
        yield "'undo'"
    if body.plan:
        yield "'on_failure'"
    if body.last:
        yield "'finally'"


def refuse_large(layers: Sequence[Sequence[int]], state: int) -> None:
    """Stop before Celery does: every message of a group carries all that comes after it.

    Raises:
        UsageError: There are no nodes, or too many.
    """
    if not layers:
        msg = "a flow without nodes has no canvas"
        raise UsageError(msg)
    instead = f"{_INSTEAD}, which has no such limit"
    chords = sum(len(layer) > 1 for layer in layers)
    if chords > MAX_CHORDS:
        msg = f"the canvas has {chords} chords in a row; Celery fails past {MAX_CHORDS}: {instead}"
        raise UsageError(msg)
    # Each layer is its nodes' messages and, of a group, the gathering task's.
    sizes = [len(layer) + (len(layer) > 1) for layer in layers]
    total, after = 0, 0
    for size in reversed(sizes):
        total += size * (state + SIGNATURE_BYTES * after)
        after += size
    if total > MAX_BYTES:
        msg = (
            f"the canvas would send about {total / 1e6:,.0f} MB through the broker "
            f"(limit {MAX_BYTES / 1e6:,.0f} MB): {instead}"
        )
        raise UsageError(msg)
