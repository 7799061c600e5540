"""Common part of nodes that start child runs: ownership, scope, failure.

In: an attempt of such a node. Out: ids, inputs, failures. Not here: what is started (structured,
streamed_map).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from flowcore.engine.attempts.attempt import AttemptContext
from flowcore.errors import ChildRunError, NodeTimeoutError, RunTimeoutError
from flowcore.plan.captures import SCOPED, captured
from flowcore.plan.plan import Plan
from flowcore.plan.policy import StructuredSpec
from flowcore.ports.store import Outcome, SubmitResult, Suspension
from flowcore.run.record import Failure, Parent, RunSummary
from flowcore.run.status import RunState
from flowcore.types import format_duration

__all__ = [
    "ChildRunFailed",
    "Children",
    "child_run_id",
    "failure_of",
    "may_retry_child",
    "outer_scope",
    "parent_of",
    "wait_for_child",
]


class ChildRunFailed(Exception):  # noqa: N818  (no error of its own: it carries the node's)
    """The run that a node has started has failed."""

    def __init__(self, failure: Failure) -> None:
        """Keep the failure, as the node's own."""
        super().__init__(failure.message)
        self.failure = failure


class Children(Protocol):
    """Starts runs for nodes."""

    def start(self, id: str, plan: Plan, input: Any, parent: Parent) -> SubmitResult:
        """Create the run, once per id, and ring for its starts."""
        ...

    def resume(self, id: str, parent: Parent) -> None:
        """Let a run go on that has failed or was cancelled."""
        ...


def parent_of(work: AttemptContext) -> Parent:
    """The attempt, as the one that starts a run."""
    return Parent(
        run=work.run,
        node=work.node,
        name=work.name,
        attempt=work.attempt,
        chance=work.chance,
    )


def may_retry_child(work: AttemptContext, summary: RunSummary) -> bool:
    """Return whether a run that has failed is to be resumed.

    It was started, or let go on, in an earlier chance of the node. The next attempt after one whose
    worker was lost is none: nobody has decided to try again.
    """
    return summary.parent is not None and summary.parent.chance < work.chance


def child_run_id(work: AttemptContext) -> str:
    """The id of the run that a node starts; an item's part of it is its number."""
    name = work.name
    return f"{work.run}/{name.partition('[')[2].rstrip(']') or name}"


def wait_for_child(child: str, reason: str) -> Outcome:
    """Say that a node waits for a run."""
    return Outcome(kind="waiting", wait=Suspension(child=child, reason=reason))


def outer_scope(work: AttemptContext, body: StructuredSpec) -> dict[str, Any]:
    """Return the values of this run that its child can see: inputs, and nodes read by name."""
    bare, keyed = captured(work.plan.params[work.node], body)
    context = work.upstream.context(bare | keyed, names=bare | keyed, node=work.node)
    nodes: Mapping[str, Any] = context["nodes"]
    # In a fixed order, as all that is packed: what goes on later is known by its bytes.
    outer = {name: context[name] for name in sorted(bare) if name in context}
    outer |= {name: nodes[name] for name in sorted(keyed - outer.keys()) if name in nodes}
    given = {"inputs": dict(work.upstream.inputs), "outer": outer}
    # Nodes with names that mean something else to those inside.
    hidden = {name: nodes[name] for name in sorted(keyed & SCOPED) if name in nodes}
    return {**given, "nodes": hidden} if hidden else given


def failure_of(work: AttemptContext, body: StructuredSpec, summary: RunSummary) -> Exception:
    """Say why a run ended badly, as the node's own failure."""
    if summary.state is RunState.CANCELLED or summary.error is None:
        return ChildRunError(f"run {summary.id!r} was cancelled")
    failure = summary.error
    inside = failure.node or ""
    limit = work.plan.policy(work.node).timeout
    if not inside and failure.code == RunTimeoutError.code and limit is not None:
        message = f"its run took longer than the node's timeout, {format_duration(limit)}"
        code, kind = NodeTimeoutError.code, NodeTimeoutError.__name__
        failure = replace(failure, type=kind, code=code, message=message)
    if body.kind in {"flow", "parallel", "epilogue"}:
        inside = f"{work.name}/{inside}" if inside else work.name
    return ChildRunFailed(replace(failure, node=inside))
