"""Records that a worker's parent makes for its children, which cannot or did not.

In: what is known of a child's work. Out: it is on record, and what that set in motion is published.
Not here: the reasons (steps.watchdog, result_backend).
"""

from collections.abc import Collection
from dataclasses import replace

from flowcore.celery.node_runner import NodeHost
from flowcore.engine.attempts.invocation import timed_out
from flowcore.engine.attempts.work_table import RunningWork
from flowcore.engine.values.failure import describe
from flowcore.engine.worker.unit import unit_of
from flowcore.ports.store import AttemptRef, Outcome, Transition
from flowcore.ports.unit import UnitProgress, UnitRef

__all__ = ["lose_for", "overrun", "settle_for", "speak_for"]


def settle_for(
    host: NodeHost, ticket: AttemptRef, plan_hash: str, outcome: Outcome, *, worker: str
) -> Transition:
    """Record how an attempt of a child has ended."""
    store = host.services.store
    plan = store.get_plan(plan_hash)
    return host.write(lambda: store.settle(ticket, outcome), plan, ticket.run, worker)


def speak_for(
    host: NodeHost, unit: UnitRef, plan_hash: str, news: UnitProgress, *, worker: str
) -> Transition:
    """Record what the unit of a child is at, and what it gives back."""
    store = host.services.store
    plan = store.get_plan(plan_hash)
    queue = plan.policy(news.current).queue if news.current is not None else None
    grain = host.units.estimates.grain(plan, queue=queue, slots=host.units.slots())
    return host.write(
        lambda: store.flush(unit, news, plan, worker=worker, grain=grain), plan, unit.run, worker
    )


def overrun(host: NodeHost, ticket: AttemptRef, plan_hash: str, *, worker: str) -> None:
    """The pool has ended the child that ran an attempt, long after its time limit."""
    plan = host.services.store.get_plan(plan_hash)
    error = timed_out(plan.policy(ticket.node).timeout or 0.0)
    name = plan.ids[ticket.node]
    failure = describe(error, node=name, attempt=ticket.attempt, worker=worker)
    outcome = Outcome(kind="deferred", failure=failure)
    settle_for(host, ticket, plan_hash, outcome, worker=worker)


def lose_for(
    host: NodeHost,
    held: AttemptRef | UnitRef,
    plan_hash: str,
    words: RunningWork | None,
    *,
    worker: str,
) -> None:
    """Let others have at once what a child had that is dead.

    Args:
        host: Of the child's parent.
        held: What its message was about.
        plan_hash: The plan of it.
        words: What the child was doing, if that is known: only what it had begun has had an
            attempt.
        worker: This worker's name.
    """
    if isinstance(held, UnitRef):
        host.lose_unit(held, plan_hash, worker=worker, begun=_begun(held, words))
        return
    mine = words is not None and _is_about(words, held)
    ticket = replace(held, turn=words.turn if words is not None and mine else None)
    host.lose(ticket, plan_hash, worker=worker, begun=_begun(unit_of(held), words))


def _begun(unit: UnitRef, words: RunningWork | None) -> Collection[int] | None:
    if words is None or (words.run, words.unit) != (unit.run, unit.unit):
        return None
    return words.begun


def _is_about(words: RunningWork, ticket: AttemptRef) -> bool:
    said = words.run, words.unit, words.node, words.attempt
    return said == (ticket.run, "", ticket.node, ticket.attempt)
