"""Claims and ends of single attempts: ``claim.lua`` and ``settle.lua`` said a second time.

In: a step or a run, and an attempt. Out: the run moved. Not here: the moves (step).
"""

from collections.abc import Sequence
from typing import Any

from flowcore.ports.store import AppendResult, AttemptRef, Outcome, Suspension
from flowcore.run.event import EventType
from flowcore.run.node_event import MOST_SAID, Note, events_of, pack_notes
from flowcore.run.record import Failure
from flowcore.run.status import NodeState, RunState
from flowcore.stores.inmemory.runs.run import DEADLINE, StoredRun
from flowcore.stores.inmemory.runs.step import Step

__all__ = ["claimable", "milliseconds", "owned_beside", "say", "settle", "start"]

_NIL = b"\xc0"


def claimable(run: StoredRun, ticket: AttemptRef) -> bool:
    """Return whether this very attempt waits to be claimed, by a message of its own."""
    return (
        run.accepts_work
        and 0 <= ticket.node < len(run.nodes)
        and run.nodes[ticket.node] is NodeState.DISPATCHED
        and run.attempts[ticket.node] + 1 == ticket.attempt
        and not any(ticket.node in unit.nodes for unit in run.units.values() if not unit.adopted)
    )


def owned_beside(run: StoredRun, unit: str, node: int) -> frozenset[int] | None:
    """Return what a unit owns beside one of its nodes; None when the node is not its own."""
    kept = run.units.get(unit)
    if kept is None or not kept.adopted or node not in kept.nodes:
        return None
    return frozenset(kept.nodes - {node})


def say(
    step: Step, ticket: AttemptRef, notes: Sequence[Note], number: int, *, most: int = MOST_SAID
) -> AppendResult:
    """Add what a node has said, as ``emit.lua`` does."""
    run, packed = step.run, pack_notes(notes)
    attempt, last = run.heard.get(ticket.node, (0, 0))
    if attempt == ticket.attempt and last >= number:
        return AppendResult.HEARD
    before, run.said = run.said, run.said + len(packed)
    if run.said <= most:
        run.events += events_of(
            packed,
            run=run.new.id,
            node=run.plan.ids[ticket.node],
            attempt=ticket.attempt,
            last=len(run.events) + len(notes),
            now=step.now,
        )
        run.heard[ticket.node] = (ticket.attempt, number)
        return AppendResult.HEARD
    if before <= most:
        step.event(EventType.STREAM_GAP, [ticket.node], ticket.attempt, {"reason": "full"})
    return AppendResult.FULL


def start(step: Step) -> bool:
    """The first claim starts the run; say whether this is it."""
    run = step.run
    if run.state is not RunState.PENDING:
        return False
    run.state, run.started = RunState.RUNNING, step.tick
    if run.plan.timeout:
        step.schedule(DEADLINE, milliseconds(run.plan.timeout))
    step.event(EventType.RUN_STARTED)
    return True


def settle(step: Step, ticket: AttemptRef, outcome: Outcome) -> None:
    """Move the run on from the end of an attempt."""
    run, node = step.run, ticket.node
    stopping = run.state is RunState.STOPPING
    if outcome.kind == "lost":
        failure = _reason(outcome)
        step.lose(node, failure, _brief(failure))
        return
    step.take_slots(-1)
    if outcome.kind in {"retry", "deferred"} and not stopping:
        _again(step, ticket, outcome)
        return
    child = outcome.wait.child if outcome.wait else None
    if outcome.kind == "waiting" and (not stopping or child in run.open_children):
        step.park(node, outcome.wait or Suspension())
        return
    step.unschedule(node)
    step.stop_children(node)
    if outcome.kind == "succeeded":
        run.nodes[node] = NodeState.SUCCEEDED
        run.outputs[node] = outcome.output or _NIL
        run.left -= 1
        _note_dead(run, node, outcome)
        step.event(EventType.NODE_SUCCEEDED, [node], ticket.attempt)
        if not stopping:
            step.advance(node, outcome.dead)
    elif stopping:
        step.cancel(node)
    elif outcome.kind == "skipped":
        step.skip(node)
    else:
        failure = _reason(outcome)
        _note_dead(run, node, outcome)
        step.fail(node, failure, _brief(failure), outcome.dead)


def _again(step: Step, ticket: AttemptRef, outcome: Outcome) -> None:
    """Try a failed attempt again, or let who claims it next decide what comes of its failure."""
    run, node, failure = step.run, ticket.node, _reason(outcome)
    if outcome.kind == "deferred":
        run.deferred[node] = failure
        run.turns[node] += 1
        run.heard.pop(node, None)
        run.attempts[node] -= 1
        step.unschedule(node)
        step.dispatch([(node, ticket.attempt)])
        return
    run.nodes[node] = NodeState.RETRYING
    run.resumed.pop(node, None)  # the next attempt waits anew
    run.deferred.pop(node, None)
    step.schedule(node, milliseconds(outcome.delay))
    data = {**_brief(failure), "delay": outcome.delay}
    step.event(EventType.NODE_RETRYING, [node], ticket.attempt, data)


def _note_dead(run: StoredRun, node: int, outcome: Outcome) -> None:
    """Should the run be resumed or run again, its joins are counted anew."""
    if outcome.dead:
        run.dead[node] = frozenset(outcome.dead)


def _reason(outcome: Outcome) -> Failure:
    """A node may not vanish without a reason, even when its attempt gave none."""
    return outcome.failure or Failure(
        type="NodeCancelledError",
        code="FC504",
        message=f"its attempt ended as {outcome.kind} without a reason",
    )


def _brief(failure: Failure) -> dict[str, Any]:
    """The few words of a failure that go into the event."""
    return {"error": {"type": failure.type, "message": failure.message}}


def milliseconds(seconds: float) -> int:
    """Seconds as the stores count them."""
    return round(seconds * 1000)
