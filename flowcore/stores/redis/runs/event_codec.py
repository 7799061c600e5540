"""Entries of a run's stream, read as events.

In: entries as Redis has them, and the run's plan. Out: events. Not here: reading them (event_log,
watch).
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from flowcore.errors import ServiceError
from flowcore.plan.plan import Plan
from flowcore.run.event import Event, EventType
from flowcore.run.node_event import events_of
from flowcore.run.wire import unpack
from flowcore.stores.redis.keys import parse_ranges

__all__ = ["events_in"]


def events_in(
    run: str, plan: Plan, entries: Iterable[tuple[bytes, Mapping[bytes, bytes]]], *, after: int
) -> list[Event]:
    """Return the events above ``after`` that these entries stand for.

    Raises:
        ServiceError: Something else has written there.
    """
    events: list[Event] = []
    try:
        for entry, fields in entries:
            events += _events(run, plan, entry, fields)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise ServiceError(f"the log of run {run!r} is damaged: {why}") from error
    # The first entry may be one of several events, of which the reader has some.
    return [event for event in events if event.id > after]


def _events(run: str, plan: Plan, entry: bytes, fields: Mapping[bytes, bytes]) -> list[Event]:
    """The events that an entry of the stream stands for."""
    id, time = int(entry.split(b"-")[1]), int(fields[b"ts"])
    if fields[b"t"] == b"batch":
        return _batch(run, plan, id, time, unpack(fields[b"d"]))
    attempt = int(fields[b"a"])
    if fields[b"t"] == b"notes":
        name = plan.ids[int(fields[b"n"])]
        return events_of(fields[b"d"], run=run, node=name, attempt=attempt, last=id, now=time)
    return [
        Event(
            id=id,
            type=EventType(fields[b"t"].decode()),
            run=run,
            time=time / 1000,
            nodes=tuple(plan.ids[node] for node in parse_ranges(fields[b"n"])),
            attempt=attempt or None,
            data=unpack(fields[b"d"]) if fields[b"d"] else {},
        )
    ]


def _batch(run: str, plan: Plan, last: int, now: int, told: Any) -> list[Event]:
    """The starts and ends of first attempts that a unit told of together."""
    worker, flat = told
    events: list[Event] = []
    for node, took, ago, started in zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True):
        name, ended = (plan.ids[node],), now - ago
        if not started:
            at, data = (ended - took) / 1000, {"worker": worker}
            kind = EventType.NODE_STARTED
            events.append(
                Event(id=0, type=kind, run=run, time=at, nodes=name, attempt=1, data=data)
            )
        kind = EventType.NODE_SUCCEEDED
        events.append(Event(id=0, type=kind, run=run, time=ended / 1000, nodes=name, attempt=1))
    first = last - len(events) + 1
    return [replace(event, id=first + at) for at, event in enumerate(events)]
