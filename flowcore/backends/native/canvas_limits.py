"""What a Celery canvas cannot keep: refused by name before any message is sent.

In: a plan. Out: nothing, or UsageError. Not here: the canvas itself (canvas).

A canvas has no run: nothing can wait in it without a worker, nothing inside it can be a run of its
own, and nobody keeps what all workers share.
"""

from collections.abc import Iterator, Sequence

from flowcore.errors import UsageError
from flowcore.expr.secrets import secrets_in
from flowcore.nodes.celery_task import PREFIX
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

#: Policies that are counted for all workers, or that order messages of several runs.
_KEYS = ("concurrency", "rate_limit", "circuit_breaker", "cache")

#: Types that wait without a worker, or that need a run.
_TYPES = frozenset({"wait", "signal", "approval", "memory"})

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
    told = {"'max_parallel'": plan.max_parallel, "'timeout'": plan.timeout}
    if found := [key for key, value in told.items() if value is not None]:
        _refuse(f"flow {plan.flow!r} has {', '.join(found)}")
    for node, name in enumerate(plan.ids):
        if node == plan.epilogue:
            parts = ", ".join(_closing(plan.policy(node)))
            _refuse(f"flow {plan.flow!r} has {parts}")
        found = list(_unkept(plan.policy(node)))
        if secrets_in(plan.params[node]):
            found.append("secrets")
        if found:
            _refuse(f"node {name!r} has {', '.join(found)}")


def _refuse(what: str) -> None:
    raise UsageError(f"{what}, which a Celery canvas cannot keep: {_INSTEAD}")


def _unkept(policy: Policy) -> Iterator[str]:
    """What one node has."""
    if policy.body is not None:
        yield _BODIES.get(policy.body.kind, policy.body.kind)
    elif policy.uses in _TYPES or policy.uses.startswith(PREFIX):
        yield f"'uses: {policy.uses}'"
    yield from (key for key in _KEYS if getattr(policy, key))
    if policy.condition is not None:
        yield "'if'"
    if policy.priority is not None:
        yield "'priority'"
    if any(one.uses is not None for one in policy.fallback[:1]):
        yield "a fallback with 'uses'"


def _closing(policy: Policy) -> Iterator[str]:
    """What runs at the end of a flow."""
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
