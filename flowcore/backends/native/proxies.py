"""Records that a worker's parent makes for its children, which cannot or did not.

In: what is known of a child's work. Out: it is on record, and what that set in motion is published.
Not here: the reasons (watchdog, chords).
"""

from flowcore.backends.native.host import NodeHost
from flowcore.engine.describe import describe
from flowcore.engine.invoke import timed_out
from flowcore.ports.store import Advance, Outcome, Ticket
from flowcore.ports.unit import Flush, UnitTicket

__all__ = ["overrun", "settle_for", "speak_for"]


def settle_for(
    host: NodeHost, ticket: Ticket, plan_hash: str, outcome: Outcome, *, worker: str
) -> Advance:
    """Record how an attempt of a child has ended."""
    store = host.services.store
    plan = store.get_plan(plan_hash)
    return host.write(lambda: store.settle(ticket, outcome), plan, ticket.run, worker)


def speak_for(
    host: NodeHost, unit: UnitTicket, plan_hash: str, news: Flush, *, worker: str
) -> Advance:
    """Record what the unit of a child is at, and what it gives back."""
    store = host.services.store
    plan = store.get_plan(plan_hash)
    queue = plan.policy(news.current).queue if news.current is not None else None
    grain = host.units.estimates.grain(plan, queue=queue, slots=host.units.slots())
    return host.write(
        lambda: store.flush(unit, news, plan, worker=worker, grain=grain), plan, unit.run, worker
    )


def overrun(host: NodeHost, ticket: Ticket, plan_hash: str, *, worker: str) -> None:
    """The pool has ended the child that ran an attempt, long after its time limit."""
    plan = host.services.store.get_plan(plan_hash)
    error = timed_out(plan.policy(ticket.node).timeout or 0.0)
    name = plan.ids[ticket.node]
    failure = describe(error, node=name, attempt=ticket.attempt, worker=worker)
    outcome = Outcome(kind="deferred", failure=failure)
    settle_for(host, ticket, plan_hash, outcome, worker=worker)
