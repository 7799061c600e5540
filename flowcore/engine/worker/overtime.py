"""Recording of a child's attempt that its parent ends.

In: why it is ended, and what it was doing. Out: an Outcome. Pure. Not here: ending it (backends),
what comes of a failure where the node's own process can tell (policies.failure_handler).

A parent runs no user code, be it a fallback's function or the condition of an edge: where such
have a say, the attempt is deferred to whoever claims it next. Only once: whoever takes longer than
it may to decide has nothing to decide, but for what comes of a fallback. A fallback that was called
is never called again: the failure says so to whoever claims the attempt to tell its circuit or to
work out its conditions.
"""

from collections.abc import Callable
from dataclasses import replace

from flowcore.engine.attempts.invocation import timed_out
from flowcore.engine.attempts.work_table import RunningWork
from flowcore.engine.policies.retry import next_delay
from flowcore.engine.values.failure import describe, error_names
from flowcore.engine.worker.liveness import Excess
from flowcore.errors import NodeCancelledError
from flowcore.plan.plan import Plan
from flowcore.ports.store import Outcome

__all__ = ["outcome_of"]


def outcome_of(
    why: Excess, work: RunningWork, plan: Plan, *, worker: str, random: Callable[[], float]
) -> Outcome:
    """Say how the attempt ends.

    Args:
        why: Why it is ended.
        work: What the child was doing.
        plan: The plan of its run.
        worker: This worker's name.
        random: Draws from [0, 1).
    """
    policy = plan.policy(work.node)
    error = (
        NodeCancelledError("the run was stopped")
        if why is Excess.CANCELLED
        else timed_out(policy.timeout or 0.0)
    )
    failure = describe(error, node=plan.ids[work.node], attempt=work.attempt, worker=worker)
    if why is Excess.CANCELLED:
        return Outcome(kind="cancelled", failure=failure)
    if work.fallen:
        if policy.guarded or plan.is_conditional(work.node):
            # Nothing but that: whoever claims it calls no function, so there is no third time.
            return Outcome(kind="deferred", failure=replace(failure, fallen=True))
        return Outcome(kind="failed", failure=failure)
    if policy.guarded and not work.deferred:
        return Outcome(kind="deferred", failure=failure)
    delay = next_delay(
        policy.retry,
        failures=work.attempt - work.lost - work.before,
        names=error_names(error),
        random=random,
    )
    if delay is not None:
        return Outcome(kind="retry", failure=failure, delay=delay)
    open_ = not work.deferred and (policy.fallback or plan.is_conditional(work.node))
    return Outcome(kind="deferred" if open_ else "failed", failure=failure)
