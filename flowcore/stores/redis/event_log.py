"""The ordered events of each run, as one Redis stream.

In: what nodes say, and whoever asks what has happened. Out: events. Not here: the events of a run's
own steps, which the scripts of those steps write.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from flowcore.plan.plan import Plan
from flowcore.ports.store import Heard, RunStore, Ticket
from flowcore.run.event import Event, EventType
from flowcore.run.note import MOST_SAID, Note, events_of, pack_notes
from flowcore.run.wire import unpack
from flowcore.stores.redis.connect import Client, translated
from flowcore.stores.redis.keys import parse_ranges, run_key
from flowcore.stores.redis.script import Line, Script, script_source

__all__ = ["RedisEventLog"]

#: Entries of one page. One may be some hundred events.
_PAGE = 1000
_HEARD = (Heard.STALE, Heard.HEARD, Heard.FULL)


class RedisEventLog:
    """Implements ``EventLog`` on one stream per run."""

    def __init__(
        self, client: Client, waiting: Client, *, plans: RunStore, most_said: int = MOST_SAID
    ) -> None:
        """Read through ``client``; wait through ``waiting``, which has no answer timeout."""
        self._client = client
        self._waiting = waiting
        self._plans = plans
        self._most_said = most_said
        self._emit = Script(Line(client), script_source("emit"))

    def append(self, ticket: Ticket, notes: Sequence[Note], *, number: int) -> Heard:
        """Add what a node has said, if its attempt is still the valid one: one entry for all."""
        about = (ticket.run, ticket.node, ticket.attempt)
        with translated():
            answer = self._emit(
                args=(*about, pack_notes(notes), len(notes), self._most_said, number)
            )
        return _HEARD[answer]

    def read(self, run: str, *, after: int = 0, block: float | None = None) -> Sequence[Event]:
        """Return events above ``after``, at most a thousand at a time."""
        with translated():
            if block is None:
                entries = self._client.xrange(run_key(run, "ev"), min=f"(0-{after}", count=_PAGE)
            else:
                answer = self._waiting.xread(
                    {run_key(run, "ev"): f"0-{after}"},
                    count=_PAGE,
                    block=max(1, round(block * 1000)),
                )
                entries = _entries(answer)
            if not entries:
                return ()
            digest = self._client.hget(run_key(run, "run"), "plan")
        if digest is None:
            return ()
        plan = self._plans.get_plan(digest.decode())
        events: list[Event] = []
        for entry, fields in entries:
            events += _events(run, plan, entry, fields)
        # The first entry may be one of several events, of which the reader has some.
        return [event for event in events if event.id > after]

    def last(self, run: str) -> int:
        """Return the id of the latest event."""
        with translated():
            entries = self._client.xrevrange(run_key(run, "ev"), count=1)
        return int(entries[0][0].split(b"-")[1]) if entries else 0

    def wait(self, run: str, *, timeout: float) -> bool:
        """Wait for the one entry that the end of a run writes."""
        with translated():
            return bool(
                self._waiting.xread(
                    {run_key(run, "done"): "0-0"}, count=1, block=max(1, round(timeout * 1000))
                )
            )

    def read_all(self, run: str) -> list[Event]:
        """Return every event so far."""
        events: list[Event] = []
        while page := self.read(run, after=events[-1].id if events else 0):
            events += page
        return events


def _entries(answer: Any) -> Any:
    """The entries of one stream, from either protocol's form of an XREAD answer."""
    if not answer:
        return ()
    if isinstance(answer, dict):
        (pages,) = answer.values()
        return (
            [entry for page in pages for entry in page]
            if pages and isinstance(pages[0], list)
            else pages
        )
    return answer[0][1]


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
