"""The handle of a run.

In: a run's id and a session. Out: its status, result, events; control. Blocking calls have async
twins whose names start with ``a``.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from flowcore.assembly.session import Session, default_session
from flowcore.client.blocking import in_thread, refuse_in_loop
from flowcore.client.controls import Controls
from flowcore.client.following import Following, Patience
from flowcore.client.outputs import Elsewhere, Outputs
from flowcore.engine.portions import portions
from flowcore.errors import (
    FlowcoreError,
    RunCancelledError,
    RunError,
    RunFailedError,
    RunNotFoundError,
    RunTimeoutError,
    UsageError,
)
from flowcore.plan.plan import Plan
from flowcore.ports.backend import ExecutionResult
from flowcore.ports.store import RunQuery
from flowcore.run.record import DeadLetter, RunRecord, RunSummary
from flowcore.run.reference import Reference
from flowcore.run.status import RunState

__all__ = ["Run"]


#: States of runs with which something can be done.
_FOR: Mapping[str, tuple[str, ...]] = {
    "cancel": ("pending", "running", "paused"),
    "pause": ("pending", "running"),
    "resume": ("paused", "failed", "cancelled"),
}


class Run(Following, Controls):
    """One run, by its id."""

    def __init__(self, id: str, *, session: Session | None = None) -> None:
        """Name a run; whether it exists shows when it is asked for something."""
        super().__init__(id, session=session or default_session())

    def __repr__(self) -> str:
        """Show the id."""
        return f"<Run {self.id!r}>"

    @classmethod
    def get(cls, id: str, *, session: Session | None = None) -> "Run":
        """Return the handle of an existing run.

        Raises:
            RunNotFoundError: No run has this id.
        """
        run = cls(id, session=session)
        run.summary()
        return run

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
    ) -> Sequence[RunSummary]:
        """Return matching runs, newest first.

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
        states = [state] if isinstance(state, str) else state
        if odd := sorted(set(states) - set(RunState)):
            msg = f"no run is ever {', '.join(map(repr, odd))}; states are {', '.join(RunState)}"
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
    def query(
        cls,
        *,
        state: str | Sequence[str] = (),
        flow: str | None = None,
        tag: str | None = None,
        limit: int = 1000,
        session: Session | None = None,
    ) -> Iterator["Run"]:
        """Give the handle of each matching run, newest first; see ``list``."""
        session = session or default_session()
        for row in cls.list(state=state, flow=flow, tag=tag, limit=limit, session=session):
            yield cls(row.id, session=session)

    @classmethod
    def all(
        cls,
        action: Literal["cancel", "pause", "resume"],
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
    def dead_letters(
        cls, *, limit: int = 50, session: Session | None = None
    ) -> Sequence[DeadLetter]:
        """Return nodes that were given up because their workers died each time, latest first."""
        return (session or default_session()).runtime.reader.dead_letters(limit=limit)

    def summary(self) -> RunSummary:
        """Return the run's row: state, times, how many nodes have settled."""
        found = self._session.persist(lambda: self._session.runtime.reader.summary(self.id))
        if found is None:
            raise RunNotFoundError(self.id)
        return found

    def status(self) -> RunState:
        """Return the run's state."""
        return self.summary().state

    def record(self) -> RunRecord:
        """Return the run with the record of each node."""
        found = self._session.runtime.reader.record(self.id)
        if found is None:
            raise RunNotFoundError(self.id)
        return found

    def plan(self) -> Plan:
        """Return the plan the run is pinned to."""
        return self._session.runtime.store.get_plan(self.summary().plan)

    def wait(self, timeout: float | None = None) -> ExecutionResult:
        """Wait for the run to end and return what it came to, whatever that is.

        Args:
            timeout: Seconds; None: as long as it takes.

        Raises:
            RunNotFoundError: No run has this id.
            WaitTimeoutError: The time was up; the run goes on.
            ServiceError: The local workers cannot be started.
            StoreFullError: Redis refuses to write; the run goes on when it has room again.
        """
        refuse_in_loop("handle.wait()", "handle")
        return self._wait(timeout)

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the run to succeed and return its output.

        Raises:
            RunFailedError: It failed.
            RunCancelledError: It was cancelled.
            RunTimeoutError: It passed its deadline.
            WaitTimeoutError: The time was up; the run goes on.
        """
        refuse_in_loop("handle.result()", "handle.aresult()")
        return _output_of(self._wait(timeout))

    async def aresult(self, timeout: float | None = None) -> Any:
        """Wait like ``result`` without blocking."""
        return _output_of(await in_thread(self._wait, timeout))

    def __await__(self) -> Generator[Any, None, ExecutionResult]:
        """``await handle`` gives the ExecutionResult, whatever the run came to."""
        return self.await_end().__await__()

    async def await_end(self, timeout: float | None = None) -> ExecutionResult:
        """Wait like ``wait`` without blocking; ``await handle`` with a time limit."""
        return await in_thread(self._wait, timeout)

    def outputs(self, nodes: Sequence[str] | None = None) -> Outputs:
        """Return the outputs there are so far, by node.

        Those that are kept in the payload store are fetched when they are read.

        Args:
            nodes: Ids of nodes; all when left out.
        """
        ids = self.plan().ids
        wanted = None if nodes is None else [ids.index(node) for node in nodes]
        return Outputs(
            (ids[node], self._opened(blob, f"output of node {ids[node]!r}"))
            for part in portions(self._session.runtime.reader, self.id, wanted)
            for node, blob in part.items()
        )

    def input(self) -> Any:
        """Return the run's input.

        Raises:
            RunNotFoundError: No run has this id.
            PayloadLostError: It was large, and is not where it was put.
        """
        value = self._input()
        return value.fetch() if isinstance(value, Elsewhere) else value

    def input_reference(self) -> Reference | None:
        """Say where the run's input is kept, if it is a large one."""
        value = self._input()
        return value.reference if isinstance(value, Elsewhere) else None

    def _input(self) -> Any:
        try:
            blob = self._session.runtime.reader.input(self.id)
        except KeyError:
            raise RunNotFoundError(self.id) from None
        return self._opened(blob, "input of the run")

    def _opened(self, blob: bytes, what: str) -> Any:
        payloads = self._session.runtime.payloads
        reference = payloads.reference(blob, what=what)
        if reference is None:
            return payloads.unpack(blob, what=what)
        return Elsewhere(reference, partial(payloads.unpack, blob, what=what))

    def _wait(self, timeout: float | None) -> ExecutionResult:
        self.summary()
        patience = Patience(self.id, timeout)
        while True:
            if self._has_ended(max(patience.slice(), 0.001)):
                result = self._session.persist(self._collect)
                if result.state.is_terminal:  # else somebody has just resumed it
                    return result
            self._session.check_progress()
            patience.check()

    def _has_ended(self, patience: float) -> bool:
        events = self._session.runtime.events
        return self._session.persist(lambda: events.wait(self.id, timeout=patience))

    def _collect(self) -> ExecutionResult:
        record = self.record()
        plan = self.plan()
        outputs = self.outputs()
        last = [plan.ids[node] for node in plan.sinks]
        output = outputs.get(last[0]) if len(last) == 1 else outputs.only(last)
        return ExecutionResult(
            success=record.state is RunState.SUCCEEDED,
            output=output,
            outputs=outputs,
            error=_sentence(record),
            duration=(record.finished or 0) - (record.started or record.created),
            run_id=self.id,
            state=record.state,
            nodes=record.nodes,
        )


def _sentence(record: RunRecord) -> str | None:
    if record.state is RunState.CANCELLED:
        return "the run was cancelled"
    if record.state is RunState.SUCCEEDED:
        return None
    if record.error is None:
        return "the run failed"
    where = f"node {record.error.node!r}: " if record.error.node else ""
    return f"{where}{record.error.type}: {record.error.message}"


def _output_of(result: ExecutionResult) -> Any:
    if result.success:
        return result.output
    kind: type[RunError] = RunFailedError
    if result.state is RunState.CANCELLED:
        kind = RunCancelledError
    elif result.error and result.error.startswith("RunTimeoutError"):
        kind = RunTimeoutError
    msg = (
        f"run {result.run_id!r}: {result.error}; 'flowcore status {result.run_id}' shows each node"
    )
    raise kind(msg, run_id=result.run_id)
