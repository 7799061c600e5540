"""The fold of a run's events: what terminal, web page and tests all show.

In: events in order. Out: a record per node. Not here: where events come from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from flowcore.run.event import Event, EventType
from flowcore.run.record import Failure, NodeRecord
from flowcore.run.status import NodeState

__all__ = ["apply_event", "fold_nodes"]

_STATE = {
    EventType.RUN_PAUSED: NodeState.HELD,
    EventType.RUN_RESUMED: NodeState.PENDING,
    EventType.NODES_REUSED: NodeState.SUCCEEDED,
    EventType.NODES_DISPATCHED: NodeState.DISPATCHED,
    EventType.NODES_SKIPPED: NodeState.SKIPPED,
    EventType.NODES_CANCELLED: NodeState.CANCELLED,
    EventType.NODE_STARTED: NodeState.RUNNING,
    EventType.NODE_SUCCEEDED: NodeState.SUCCEEDED,
    EventType.NODE_FAILED: NodeState.FAILED,
    EventType.NODE_RETRYING: NodeState.RETRYING,
    EventType.NODE_WAITING: NodeState.WAITING,
    EventType.NODE_LOST: NodeState.PENDING,
}
_ENDS = frozenset({NodeState.SUCCEEDED, NodeState.FAILED, NodeState.CANCELLED})


def apply_event(nodes: dict[str, NodeRecord], event: Event) -> None:
    """Bring the records of the nodes an event names up to date."""
    state = _STATE.get(event.type)
    if state is None:
        return
    for name in event.nodes:
        record = nodes.get(name) or NodeRecord(id=name, state=NodeState.PENDING)
        if state is NodeState.RUNNING:
            attempt = event.attempt or 1
            # One that has waited goes on: it began before that.
            again = record.attempts == attempt and record.finished is None
            record = replace(
                record,
                state=state,
                attempts=attempt,
                started=record.started if again and record.started else event.time,
                finished=None,
                worker=event.data.get("worker"),
            )
        else:
            ended = state in _ENDS and record.started is not None
            record = replace(record, state=state, finished=event.time if ended else None)
        record = replace(
            record,
            **_wait(event, state),
            child=event.data.get("child") or record.child,
        )
        if event.type is EventType.RUN_RESUMED:
            record = replace(record, started=None, worker=None, error=None)
        if error := event.data.get("error"):
            record = replace(record, error=Failure(**error))
        elif state is NodeState.SUCCEEDED:
            record = replace(record, error=None)
        nodes[name] = record


def _wait(event: Event, state: NodeState) -> dict[str, Any]:
    """Return what a node waits for after this event: nothing, unless the event names it."""
    if state is NodeState.RETRYING:
        return {"waits": None, "signal": None, "until": _later(event, event.data.get("delay"))}
    if state is not NodeState.WAITING:
        return {"waits": None, "signal": None, "until": None}
    until = event.data.get("until") or _later(event, event.data.get("seconds"))
    return {"waits": event.data.get("reason"), "signal": event.data.get("signal"), "until": until}


def _later(event: Event, seconds: object) -> float | None:
    return event.time + seconds if isinstance(seconds, int | float) else None


def fold_nodes(
    events: Iterable[Event],
    *,
    states: Mapping[str, NodeState],
    failures: Mapping[str, Failure],
) -> dict[str, NodeRecord]:
    """Fold events into records, in the plan's order.

    Args:
        events: All events of the run so far, in order.
        states: The recorded state of every node: it wins over the log, which may be read a
            moment later.
        failures: What is recorded of failed nodes, in full.
    """
    nodes = {name: NodeRecord(id=name, state=state) for name, state in states.items()}
    for event in events:
        apply_event(nodes, event)
    for name, state in states.items():
        failure = failures.get(name)
        nodes[name] = replace(nodes[name], state=state, error=failure or nodes[name].error)
    return nodes
