"""Logs of nodes, in a run and in its child runs.

In: a run or one of its nodes. Out: events with the address of their node, in order of time. Not
here: which of them are shown, and how (commands.logs).

Of one run the events keep their order, whatever their times: what a node said is written a moment
later than it was said.
"""

import heapq
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flowcore.assembly.session import Session
from flowcore.cli.addressing import Place
from flowcore.client.streaming import nodes_tagged
from flowcore.plan.plan import Plan
from flowcore.run.event import Event

__all__ = ["LogReader", "Said"]

#: Seconds between two looks at the runs inside, while a run is followed.
_EVERY = 0.2

#: Structured nodes whose inside has names of its own; items and iterations have the node's.
_NAMED = frozenset({"flow", "parallel", "epilogue"})


@dataclass(frozen=True, slots=True)
class Said:
    """An event, and the address of its node in the run that is read."""

    event: Event
    address: str


@dataclass(slots=True, kw_only=True)
class _Source:
    """One run whose events are read."""

    run: str
    plan: Plan
    way: str
    """The path to the run from the outermost one, in addresses."""
    wanted: frozenset[str] | None
    """The nodes that are wanted, with all that is inside them; None: all."""
    after: int = 0
    known: set[str] = field(default_factory=set)
    """Runs inside that are read already."""

    def said(self, page: Sequence[Event]) -> list[Said]:
        """Take note of a page of events; return those that are wanted."""
        if page:
            self.after = page[-1].id
        return [
            Said(event, ", ".join(f"{self.way}{node}" for node in event.nodes))
            for event in page
            if self.wanted is None or not self.wanted.isdisjoint(event.nodes)
        ]


class LogReader:
    """Reads the events of a run, or of one of its nodes, and of all runs inside."""

    def __init__(self, session: Session, place: Place, tag: str | None = None) -> None:
        """Find out where to read.

        Args:
            session: Where the runs are.
            place: The run, or its node.
            tag: Only nodes with this tag, and what is inside them.

        Raises:
            UsageError: There is no such node in the run or inside it.
        """
        self._session = session
        self._tag = tag
        self._plans: dict[str, Plan] = {}
        self._run = place.run
        plan = place.run.plan()
        self._only = place.node
        wanted = self._tagged(plan)
        if place.node is not None:
            wanted = frozenset({place.node}) & (wanted if wanted is not None else {place.node})
        self._first = _Source(run=place.run.id, plan=plan, way="", wanted=wanted)
        self._sources = [self._first]
        self._find_inside()
        if tag is not None and all(source.wanted == frozenset() for source in self._sources):
            nodes_tagged(plan, tag)  # says that there is none

    def read(self) -> Iterator[Said]:
        """Give all that there is, in order of time."""
        timed = map(self._timed, self._sources)
        for _, said in heapq.merge(*timed, key=lambda pair: pair[0]):
            yield said

    def follow(self) -> Iterator[Said]:
        """Give what there is, then what comes, until the run has ended."""
        looked = 0.0
        for page in self._run.read_pages():
            said = self._first.said(page)
            if time.monotonic() - looked >= _EVERY:
                said += self._inside()
                looked = time.monotonic()
            yield from sorted(said, key=lambda one: one.event.time)
        yield from sorted(self._inside(), key=lambda one: one.event.time)

    def _timed(self, source: _Source) -> Iterator[tuple[float, Said]]:
        """A run's events, none of them before the one that it comes after."""
        latest = 0.0
        while page := self._session.runtime.events.read(source.run, after=source.after):
            for said in source.said(page):
                latest = max(latest, said.event.time)
                yield latest, said

    def _inside(self) -> list[Said]:
        """Return the logs of child runs since the last look."""
        self._find_inside()
        said: list[Said] = []
        for source in self._sources[1:]:
            while page := self._session.runtime.events.read(source.run, after=source.after):
                said += source.said(page)
        return said

    def _find_inside(self) -> None:
        """Find the runs inside that are not known yet, and those inside them."""
        open_ = list(self._sources)
        while open_:
            source = open_.pop()
            for child, node in self._session.runtime.reader.children(source.run).items():
                if child in source.known:
                    continue
                source.known.add(child)
                if found := self._child(source, child, node):
                    self._sources.append(found)
                    open_.append(found)

    def _child(self, parent: _Source, child: str, node: int) -> _Source | None:
        """The run that a node has started, unless nothing in it can be wanted."""
        name = parent.plan.ids[node]
        is_whole = parent.wanted is None or name in parent.wanted
        is_elsewhere = parent is self._first and self._only not in {None, name}
        summary = self._session.runtime.reader.summary(child)
        if summary is None or is_elsewhere or not (is_whole or self._tag):
            return None
        body = parent.plan.policy(node).body
        named = body is not None and body.kind in _NAMED
        if summary.plan not in self._plans:
            self._plans[summary.plan] = self._session.runtime.store.get_plan(summary.plan)
        plan = self._plans[summary.plan]
        return _Source(
            run=child,
            plan=plan,
            way=f"{parent.way}{name}/" if named else parent.way,
            wanted=None if is_whole else self._tagged(plan),
        )

    def _tagged(self, plan: Plan) -> frozenset[str] | None:
        """The nodes of a plan that the tag asks for; None: all."""
        if self._tag is None:
            return None
        return frozenset(id for at, id in enumerate(plan.ids) if self._tag in plan.policy(at).tags)
