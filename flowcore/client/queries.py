"""Finding runs, and doing the same to all that are found.

In: states, a flow, a tag. Out: rows, handles, what became of each. Every call has an async twin
whose name starts with ``a``. Not here: what one run is asked or told (run, control).
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Literal, Self

from flowcore.assembly.session import Session, default_session
from flowcore.client.control import RunControl
from flowcore.client.threads import in_thread, refuse_in_loop
from flowcore.errors import FlowcoreError, RunError, UsageError
from flowcore.ports.listing import Listing
from flowcore.ports.store import RunQuery
from flowcore.run.record import DeadLetter, RunSummary
from flowcore.run.status import RunState

__all__ = ["Finding"]

Action = Literal["cancel", "pause", "resume"]

#: States of runs with which something can be done.
_FOR: Mapping[Action, Sequence[str]] = {
    "cancel": ("pending", "running", "paused"),
    "pause": ("pending", "running"),
    "resume": ("paused", "failed", "cancelled"),
}


class Finding(RunControl):
    """Queries over all runs, as class methods of a run."""

    @classmethod
    def list(
        cls,
        *,
        state: str | Sequence[str] = (),
        flow: str | None = None,
        tag: str | None = None,
        part_of: str | None = None,
        limit: int = 50,
        session: Session | None = None,
    ) -> Listing[RunSummary]:
        """Return matching runs, newest first; ``.unreadable`` names damaged ones.

        Args:
            state: States, or one.
            flow: The flow's id.
            tag: A tag.
            part_of: Runs that nodes of this run have started: maps, loops, sub-flows. They are not
                listed otherwise.
            limit: How many at most.
            session: Where; the process's default session when left out.

        Raises:
            UsageError: No run can be in one of these states.
        """
        refuse_in_loop("Run.list()", "Run.alist()")
        states = [state] if isinstance(state, str) else state
        if odd := sorted(set(states) - set(RunState)):
            named = ", ".join(map(repr, odd))
            msg = f"no run state is called {named}; states are {', '.join(RunState)}"
            raise UsageError(msg)
        query = RunQuery(
            states=frozenset(RunState(name) for name in states),
            flow=flow,
            tag=tag,
            part_of=part_of,
            limit=limit,
        )
        return (session or default_session()).runtime.reader.list_runs(query)

    @classmethod
    async def alist(
        cls,
        *,
        state: str | Sequence[str] = (),
        flow: str | None = None,
        tag: str | None = None,
        part_of: str | None = None,
        limit: int = 50,
        session: Session | None = None,
    ) -> Listing[RunSummary]:
        """Return matching runs without blocking; see ``list``."""
        return await in_thread(
            lambda: cls.list(
                state=state, flow=flow, tag=tag, part_of=part_of, limit=limit, session=session
            )
        )

    @classmethod
    def query(
        cls,
        *,
        state: str | Sequence[str] = (),
        flow: str | None = None,
        tag: str | None = None,
        limit: int = 1000,
        session: Session | None = None,
    ) -> Iterator[Self]:
        """Give the handle of each matching run, newest first; see ``list``."""
        refuse_in_loop("Run.query()", "Run.aquery()")
        where = session or default_session()
        rows = cls.list(state=state, flow=flow, tag=tag, limit=limit, session=where)
        return (cls(row.id, session=where) for row in rows)

    @classmethod
    async def aquery(
        cls,
        *,
        state: str | Sequence[str] = (),
        flow: str | None = None,
        tag: str | None = None,
        limit: int = 1000,
        session: Session | None = None,
    ) -> AsyncIterator[Self]:
        """Give the handle of each matching run without blocking: ``async for``."""
        found = await in_thread(
            lambda: cls.query(state=state, flow=flow, tag=tag, limit=limit, session=session)
        )
        for run in found:
            yield run

    @classmethod
    def all(
        cls,
        action: Action,
        *,
        state: str | Sequence[str] = (),
        flow: str | None = None,
        tag: str | None = None,
        limit: int = 1000,
        session: Session | None = None,
    ) -> Mapping[str, RunState | FlowcoreError]:
        """Cancel, pause or resume every matching run.

        Args:
            action: What to do.
            state: Which: states, or one. Left out, those with which that can be done.
            flow: Of which flow.
            tag: With which tag.
            limit: How many at most, the newest first.
            session: Where; the process's default session when left out.

        Returns:
            By run: its state afterwards, or why it stayed as it was.

        Raises:
            UsageError: Neither ``flow`` nor ``tag`` nor ``state`` says which.
        """
        refuse_in_loop("Run.all()", "Run.aall()")
        if not (state or flow or tag):
            msg = f"say which runs to {action}: by state, flow or tag"
            raise UsageError(msg)
        done: dict[str, RunState | FlowcoreError] = {}
        which = state or _FOR[action]
        for run in cls.query(state=which, flow=flow, tag=tag, limit=limit, session=session):
            try:
                done[run.id] = getattr(run, action)()
            except RunError as error:
                done[run.id] = error
        return done

    @classmethod
    async def aall(
        cls,
        action: Action,
        *,
        state: str | Sequence[str] = (),
        flow: str | None = None,
        tag: str | None = None,
        limit: int = 1000,
        session: Session | None = None,
    ) -> Mapping[str, RunState | FlowcoreError]:
        """Cancel, pause or resume every matching run without blocking; see ``all``."""
        return await in_thread(
            lambda: cls.all(action, state=state, flow=flow, tag=tag, limit=limit, session=session)
        )

    @classmethod
    def dead_letters(
        cls, *, limit: int = 50, session: Session | None = None
    ) -> Listing[DeadLetter]:
        """Return nodes that were given up because their workers died each time, latest first."""
        refuse_in_loop("Run.dead_letters()", "Run.adead_letters()")
        return (session or default_session()).runtime.reader.dead_letters(limit=limit)

    @classmethod
    async def adead_letters(
        cls, *, limit: int = 50, session: Session | None = None
    ) -> Listing[DeadLetter]:
        """Return dead letters without blocking."""
        return await in_thread(lambda: cls.dead_letters(limit=limit, session=session))
