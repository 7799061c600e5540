"""Following a run: its events as they come, its tokens, callbacks.

In: a run's id and a session. Out: events. A reader asks for the next page when it has dealt with
the last one: a slow one keeps nobody waiting, and holds one page. Not here: the web (sse), and how
all readers of a process share its connections (hub).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from concurrent.futures import wait
from dataclasses import dataclass
from typing import Any

from flowcore.assembly.session import Session
from flowcore.client.hub import hub_of
from flowcore.client.threads import in_thread, refuse_in_loop
from flowcore.engine.background.callbacks import find_callbacks, tell, tell_all
from flowcore.errors import RunNotFoundError, UsageError, WaitTimeoutError
from flowcore.plan.plan import Plan
from flowcore.run.event import Event, EventType
from flowcore.types import format_duration

__all__ = ["Patience", "RunStreaming", "check_event_id", "nodes_tagged"]

#: Seconds after which somebody who waits hears that there is nothing yet.
SLICE = 1.0

#: No log holds so many events.
_BEYOND = 2**63


class Patience:
    """Deadline of somebody who waits for a run."""

    def __init__(self, run: str, timeout: float | None) -> None:
        """Wait for ``timeout`` seconds from now; None: as long as it takes."""
        self._run = run
        self._timeout = timeout
        self._ends = None if timeout is None else time.monotonic() + timeout

    def slice(self) -> float:
        """Seconds that the next wait may take."""
        return (
            SLICE if self._ends is None else max(0.001, min(SLICE, self._ends - time.monotonic()))
        )

    def check(self, page: Sequence[Event] = ()) -> None:
        """Give up when the time is over, unless the run has just ended.

        Raises:
            WaitTimeoutError: It is.
        """
        if self._ends is None or time.monotonic() < self._ends:
            return
        if page and page[-1].type.is_terminal:
            return
        msg = (
            f"run {self._run!r} has not ended within {format_duration(self._timeout or 0)}; it "
            f"continues: 'flowcore watch {self._run}'"
        )
        raise WaitTimeoutError(msg, run_id=self._run)


class RunStreaming:
    """Events of a run, as methods of its handle."""

    id: str
    _session: Session

    def plan(self) -> Plan:
        """Return the plan the run is pinned to."""
        raise NotImplementedError

    def events(
        self,
        *,
        after: int = 0,
        types: Collection[str] = (),
        node: str | None = None,
        tag: str | None = None,
    ) -> Iterator[Event]:
        """Replay the run's events with ids above ``after``, then follow until its last one.

        Args:
            after: The id of the last event seen, to go on where one was.
            types: Only events of these types, such as ``node.token``.
            node: Only events of this node.
            tag: Only events of nodes with this tag.

        Raises:
            RunNotFoundError: No run has this id.
            UsageError: No event is ever of one of these types, no node has this tag, or the run
                goes on and has no event ``after`` yet.
        """
        refuse_in_loop("handle.events()", "handle.stream()")
        wanted = _filter(types, self._among(node, tag))
        for page in self.read_pages(after=after):
            yield from filter(wanted, page)

    async def stream(
        self,
        *,
        after: int = 0,
        types: Collection[str] = (),
        node: str | None = None,
        tag: str | None = None,
    ) -> AsyncIterator[Event]:
        """Replay and follow like ``events``; resume after the id of the last event seen."""
        wanted = _filter(types, await in_thread(self._among, node, tag))
        async for page in self.pages(after=after):
            for event in filter(wanted, page):
                yield event

    async def tokens(self, *, after: int = 0, node: str | None = None) -> AsyncIterator[Any]:
        """Give what nodes give before they end: pieces of text, or other chunks.

        An attempt that is made again begins again; ``stream`` tells attempts apart.
        """
        async for event in self.stream(after=after, types=(EventType.NODE_TOKEN,), node=node):
            yield event.data.get("text", event.data.get("chunk"))

    async def pages(self, *, after: int = 0) -> AsyncIterator[Sequence[Event]]:
        """Give events as they come, many at a time; an empty page each second without any."""
        hub = hub_of(self._session)
        begun = await asyncio.wrap_future(hub.look(self._begin, after))
        if begun is None:
            return
        while True:
            page = asyncio.wrap_future(hub.page(begun.server, self.id, begun.plan, after))
            try:
                while not (await asyncio.wait((page,), timeout=SLICE))[0]:
                    yield ()
                events = page.result()
            finally:
                page.cancel()
            if not events:
                return
            yield events
            after = events[-1].id
            if events[-1].type.is_terminal and await asyncio.wrap_future(
                hub.look(self.is_read, after)
            ):
                return

    def read_pages(
        self, *, after: int = 0, timeout: float | None = None
    ) -> Iterator[Sequence[Event]]:
        """Give events as ``pages`` does, blocking.

        Raises:
            WaitTimeoutError: The time was up; the run goes on.
        """
        begun = self._begin(after)
        if begun is None:
            return
        hub, patience = hub_of(self._session), Patience(self.id, timeout)
        while True:
            page = hub.page(begun.server, self.id, begun.plan, after)
            try:
                while not wait((page,), timeout=patience.slice())[0]:
                    yield ()
                    patience.check()
                events = page.result()
            finally:
                page.cancel()
            if not events:
                return
            yield events
            after = events[-1].id
            if events[-1].type.is_terminal and self.is_read(after):
                return
            patience.check(events)

    def follow(self, *callbacks: Any, after: int = 0, timeout: float | None = None) -> None:
        """Tell callbacks of everything that happens until the run has ended, in order.

        Sync methods may block, and run other flows. A callback that fails is told of in the log,
        and fails nothing else.

        Args:
            callbacks: Objects with methods as ``Callbacks`` has them, sync or async; or the name
                of one, ``module:object`` or an entry point of ``flowcore.callbacks``.
            after: As for ``events``.
            timeout: Seconds to follow; None: to the end.

        Raises:
            RunNotFoundError: No run has this id.
            UsageError: One of them has none of these methods, or cannot be found.
            WaitTimeoutError: The time was up; the run goes on.
        """
        refuse_in_loop("handle.follow()", "handle.afollow()")
        heard = [find_callbacks(one) for one in callbacks]
        with asyncio.Runner() as runner:
            for page in self.read_pages(after=after, timeout=timeout):
                tell(heard, page, runner)

    async def afollow(self, *callbacks: Any, after: int = 0, timeout: float | None = None) -> None:
        """Tell callbacks like ``follow``; sync methods are called in the event loop's thread."""
        heard = [find_callbacks(one) for one in callbacks]
        patience = Patience(self.id, timeout)
        async for page in self.pages(after=after):
            await tell_all(heard, page)
            patience.check(page)

    def _among(self, node: str | None, tag: str | None) -> frozenset[str] | None:
        """The nodes whose events are wanted; None: of all."""
        if tag is None:
            return None if node is None else frozenset({node})
        found = nodes_tagged(self._session.persist(self.plan), tag)
        return found if node is None else found & {node}

    def is_read(self, after: int) -> bool:
        """Say whether the run has ended and has no event after this id: nothing will follow.

        Raises:
            RunNotFoundError: No run has this id.
            UsageError: The run goes on and has no event of this id yet, or it is no event's id.
        """
        return self._begin(after) is None

    def _begin(self, after: int) -> "_Begun | None":
        """Find out where to read on; None when nothing will follow."""
        check_event_id(after)
        session = self._session
        runtime = session.runtime
        summary = session.persist(lambda: runtime.reader.summary(self.id))
        if summary is None:
            raise RunNotFoundError(self.id)
        # In this order: what is resumed in between has events again.
        last = session.persist(lambda: runtime.events.last(self.id))
        if summary.state.is_terminal and after >= last:
            return None
        if after > last:
            msg = (
                f"run {self.id!r} has no event {after} yet: its latest is {last}; start after that"
            )
            raise UsageError(msg)
        plan = session.persist(lambda: runtime.store.get_plan(summary.plan))
        return _Begun(server=runtime.events.place(self.id), plan=plan)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """Location of a run, and the reader of its events."""

    server: int
    plan: Plan


def check_event_id(given: object) -> None:
    """Refuse what no event is numbered with.

    Raises:
        UsageError: It is not a whole number from 0 on, or beyond what a log could hold.
    """
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < _BEYOND:
        msg = (
            f"a run's events are numbered 1, 2, 3, ...; 'after' is one of them or 0, got {given!r}"
        )
        raise UsageError(msg)


def nodes_tagged(plan: Plan, tag: str) -> frozenset[str]:
    """Find the nodes with a tag.

    Raises:
        UsageError: There are none.
    """
    found = frozenset(id for n, id in enumerate(plan.ids) if tag in plan.policy(n).tags)
    if not found:
        known = sorted({tag for policy in plan.policies for tag in policy.tags})
        there = f"tags are {', '.join(known)}" if known else "none has any"
        msg = f"no node of flow {plan.flow!r} has the tag {tag!r}; {there}"
        raise UsageError(msg)
    return found


def _filter(types: Collection[str], nodes: frozenset[str] | None) -> Any:
    types = {types} if isinstance(types, str) else set(types)
    if odd := sorted(types - set(EventType)):
        named = ", ".join(map(repr, odd))
        msg = f"no event type is called {named}; types are {', '.join(EventType)}"
        raise UsageError(msg)
    return lambda event: (
        (not types or event.type in types) and (nodes is None or not nodes.isdisjoint(event.nodes))
    )
