"""The ordered events of each run, as one Redis stream.

In: what nodes say, and whoever asks what has happened. Out: events. Not here: the events of a run's
own steps, which the scripts of those steps write.
"""

from collections.abc import Sequence
from typing import Any

from flowcore.ports.store import AppendResult, AttemptRef, RunStore
from flowcore.ports.watch import RunWatch
from flowcore.run.event import Event
from flowcore.run.node_event import MOST_SAID, Note, pack_notes
from flowcore.stores.redis.connection.connect import Client, translated
from flowcore.stores.redis.connection.script import Script, ScriptConnection, script_source
from flowcore.stores.redis.keys import run_key
from flowcore.stores.redis.runs.codec import wire_fence
from flowcore.stores.redis.runs.event_codec import events_in
from flowcore.stores.redis.runs.watch import RedisRunWatch

__all__ = ["RedisEventLog"]

#: Entries of one page. One may be some hundred events.
_PAGE = 1000
_HEARD = (AppendResult.STALE, AppendResult.HEARD, AppendResult.FULL)


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
        self._emit = Script(ScriptConnection(client), script_source("emit"))

    def append(self, ticket: AttemptRef, notes: Sequence[Note], *, number: int) -> AppendResult:
        """Add what a node has said, if its attempt is still the valid one: one entry for all."""
        about = (ticket.run, ticket.node, wire_fence(ticket))
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
        return events_in(run, self._plans.get_plan(digest.decode()), entries, after=after)

    @property
    def servers(self) -> int:
        """Number of servers."""
        return 1

    def place(self, run: str) -> int:  # noqa: ARG002  (there is one server)
        """Return the number of the server that has a run."""
        return 0

    def watch(self, at: int) -> RunWatch:  # noqa: ARG002  (there is one server)
        """Make a watch of a server."""
        return RedisRunWatch(self._client, self._waiting)

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
