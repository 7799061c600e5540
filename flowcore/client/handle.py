"""The handle of a run.

In: a run's id and a session. Out: its status, result, events; control. Blocking calls have async
twins whose names start with ``a``.
"""

import time
from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from typing import Any

from flowcore.assembly.session import Session, default_session
from flowcore.client.again import refuse_elsewhere, rerun_run, resume_run
from flowcore.client.blocking import in_thread, refuse_in_import, refuse_in_loop
from flowcore.engine import control
from flowcore.errors import (
    RunCancelledError,
    RunError,
    RunFailedError,
    RunNotFoundError,
    RunTimeoutError,
    UsageError,
    WaitTimeoutError,
)
from flowcore.plan.plan import Plan
from flowcore.ports.backend import ExecutionResult
from flowcore.ports.store import RunQuery
from flowcore.run.event import Event
from flowcore.run.record import DeadLetter, RunRecord, RunSummary
from flowcore.run.status import RunState
from flowcore.run.wire import unpack
from flowcore.types import format_duration

__all__ = ["Run"]

#: How long one blocking read may last, in seconds: an abandoned wait ends within it.
_SLICE = 1.0


class Run:
    """One run, by its id."""

    def __init__(self, id: str, *, session: Session | None = None) -> None:
        """Name a run; whether it exists shows when it is asked for something."""
        self.id = id
        self._session = session or default_session()

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
        limit: int = 50,
        session: Session | None = None,
    ) -> Sequence[RunSummary]:
        """Return matching runs, newest first.

        Raises:
            UsageError: No run can be in one of these states.
        """
        states = [state] if isinstance(state, str) else state
        if odd := sorted(set(states) - set(RunState)):
            msg = f"no run is ever {', '.join(map(repr, odd))}; states are {', '.join(RunState)}"
            raise UsageError(msg)
        query = RunQuery(
            states=frozenset(RunState(name) for name in states), flow=flow, tag=tag, limit=limit
        )
        return (session or default_session()).runtime.reader.list_runs(query)

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

    def cancel(self, reason: str = "cancelled by its owner") -> RunState:
        """Stop the run: queued nodes never start, running ones are told to end.

        Returns:
            The state afterwards: ``stopping`` while nodes still run, else a final one.

        Raises:
            RunNotFoundError: No run has this id.
        """
        runtime = self._session.runtime
        state = runtime.store.stop(self.id, reason=reason)
        if state is None:
            raise RunNotFoundError(self.id)
        if state is RunState.CANCELLED:
            # No worker had a part in it, so one has to be asked to tell Flower.
            namespace = runtime.settings.namespace
            runtime.dispatcher.tell_end(self.id, self.plan(), namespace=namespace)
        return state

    async def acancel(self, reason: str = "cancelled by its owner") -> RunState:
        """Cancel without blocking."""
        return await in_thread(self.cancel, reason)

    def pause(self) -> RunState:
        """Hold the run: no further node starts, what runs goes on and is recorded.

        The run's time limit goes on counting.

        Returns:
            The state afterwards: ``paused``.

        Raises:
            RunNotFoundError: No run has this id.
            RunStateError: It has ended or is being stopped.
        """
        return control.pause(self._session.runtime.store, self.id)

    async def apause(self) -> RunState:
        """Pause without blocking."""
        return await in_thread(self.pause)

    def resume(self) -> RunState:
        """Let a run go on that is paused, or that has failed or was cancelled.

        Of a run that has ended, nodes that have succeeded and their outputs are kept; what failed,
        what was cancelled and all that comes after these runs again, each with retries of its own
        anew. The run's time limit begins anew, too.

        Returns:
            The state afterwards.

        Raises:
            RunNotFoundError: No run has this id.
            RunStateError: It is running, has succeeded, or its plan is no longer kept.
        """
        refuse_in_loop("handle.resume()", "handle.aresume()")
        return self._resume()

    async def aresume(self) -> RunState:
        """Resume without blocking."""
        return await in_thread(self._resume)

    def requeue(self, node: str | None = None) -> RunState:
        """Resume a run with dead letters: nodes given up because their workers died each time.

        Args:
            node: One that has to be among them; None: there has to be one.

        Raises:
            RunNotFoundError: No run has this id.
            RunStateError: It has no (such) dead letter, or cannot be resumed.
        """
        control.require_dead_letter(self.record(), node)
        return self.resume()

    def rerun(
        self, from_node: str | None = None, with_input: Any = None, *, id: str | None = None
    ) -> "Run":
        """Start a new run after the pattern of this one.

        Args:
            from_node: Run this node and all after it; the outputs of what else has succeeded are
                taken over. None: run everything.
            with_input: The new run's input; a map is laid over this run's input, key by key.
                None: the same input. What is taken over was made of the old one.
            id: The new run's id, if it should be idempotent.

        Returns:
            The new run; its ``summary().origin`` names this one.

        Raises:
            RunNotFoundError: No run has this id.
            RunStateError: The run has not ended, so it is not known yet what can be taken over.
            UsageError: There is no such node, or the input is not what the flow declares.
        """
        refuse_in_loop("handle.rerun()", "handle.arerun()")
        return self._rerun(from_node, with_input, id)

    async def arerun(
        self, from_node: str | None = None, with_input: Any = None, *, id: str | None = None
    ) -> "Run":
        """Rerun without blocking."""
        return await in_thread(self._rerun, from_node, with_input, id)

    @classmethod
    def dead_letters(
        cls, *, limit: int = 50, session: Session | None = None
    ) -> Sequence[DeadLetter]:
        """Return nodes that were given up because their workers died each time, latest first."""
        return (session or default_session()).runtime.reader.dead_letters(limit=limit)

    def _resume(self) -> RunState:
        self._serve()
        return resume_run(self._session, self.id)

    def _rerun(self, from_node: str | None, with_input: Any, id: str | None) -> "Run":
        self._serve()
        new = rerun_run(self._session, self.id, from_node, with_input, id=id)
        return Run(new, session=self._session)

    def _serve(self) -> None:
        """The embedded server's workers are those of this process."""
        refuse_in_import()
        if self._session.embedded:
            refuse_elsewhere(self._session, self.summary())
            self._session.ensure_workers(self.plan().queues)

    def events(self, *, after: int = 0) -> Iterator[Event]:
        """Replay the run's events with ids above ``after``, then follow until its last one.

        Raises:
            RunNotFoundError: No run has this id.
        """
        refuse_in_loop("handle.events()", "handle.stream()")
        self.summary()
        while True:
            page = self._page(after)
            yield from page
            after = page[-1].id if page else after
            if page and page[-1].type.is_terminal and self._is_over(after):
                return

    async def stream(self, *, after: int = 0) -> AsyncIterator[Event]:
        """Replay and follow like ``events``; resume after the id of the last event seen."""
        await in_thread(self.summary)
        while True:
            page = await in_thread(self._page, after)
            for event in page:
                yield event
            after = page[-1].id if page else after
            if page and page[-1].type.is_terminal and await in_thread(self._is_over, after):
                return

    def outputs(self) -> dict[str, Any]:
        """Return the outputs there are so far, by node."""
        ids = self.plan().ids
        found = self._session.runtime.reader.outputs(self.id)
        return {ids[node]: unpack(found[node]) for node in sorted(found)}

    def _page(self, after: int) -> Sequence[Event]:
        self._session.check_workers()
        events = self._session.runtime.events
        return self._session.persist(lambda: events.read(self.id, after=after, block=_SLICE))

    def _is_over(self, last: int) -> bool:
        """Whether nothing follows an end: a run that was resumed has gone on."""
        events = self._session.runtime.events
        return not self._session.persist(lambda: events.read(self.id, after=last))

    def _wait(self, timeout: float | None) -> ExecutionResult:
        self.summary()
        ends = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _SLICE if ends is None else min(_SLICE, ends - time.monotonic())
            if self._has_ended(max(left, 0.001)):
                result = self._session.persist(self._collect)
                if result.state.is_terminal:  # else somebody has just resumed it
                    return result
            self._session.check_workers()
            if ends is not None and time.monotonic() >= ends:
                msg = (
                    f"run {self.id!r} has not ended within {format_duration(timeout or 0)}; it "
                    f"goes on: 'flowcore watch {self.id}'"
                )
                raise WaitTimeoutError(msg, run_id=self.id)

    def _has_ended(self, patience: float) -> bool:
        events = self._session.runtime.events
        return self._session.persist(lambda: events.wait(self.id, timeout=patience))

    def _collect(self) -> ExecutionResult:
        record = self.record()
        plan = self.plan()
        outputs = self.outputs()
        last = [plan.ids[node] for node in plan.sinks]
        output = (
            outputs.get(last[0])
            if len(last) == 1
            else {node: outputs[node] for node in last if node in outputs}
        )
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
