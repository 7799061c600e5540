"""The handle of a run.

In: a run's id and a session. Out: its status, result, events; control. Blocking calls have async
twins whose names start with ``a``.
"""

import asyncio
import contextvars
import functools
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from flowcore.assembly.session import Session, default_session
from flowcore.client.outputs import Elsewhere, Outputs
from flowcore.engine.portions import portions
from flowcore.errors import (
    BlockingCallError,
    RunCancelledError,
    RunError,
    RunFailedError,
    RunNotFoundError,
    RunTimeoutError,
    UsageError,
    WaitTimeoutError,
)
from flowcore.nodes.resolve import being_imported
from flowcore.plan.plan import Plan
from flowcore.ports.backend import ExecutionResult
from flowcore.ports.store import RunQuery
from flowcore.run.event import Event
from flowcore.run.record import RunRecord, RunSummary
from flowcore.run.reference import Reference
from flowcore.run.status import RunState
from flowcore.run.wire import pack
from flowcore.types import format_duration

__all__ = ["Run", "in_thread", "refuse_in_import", "refuse_in_loop"]

_T = TypeVar("_T")

#: How long one blocking read may last, in seconds: an abandoned wait ends within it.
_SLICE = 1.0

#: Threads that wait for runs on behalf of ``await``; asyncio's own pool has only a few.
_WAITERS = ThreadPoolExecutor(max_workers=256, thread_name_prefix="flowcore-wait")


async def in_thread(call: Callable[..., _T], *args: Any) -> _T:
    """Run a blocking call without blocking the event loop."""
    here = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_WAITERS, here.run, call, *args)


def refuse_in_loop(call: str, twin: str) -> None:
    """Raise when called inside a running event loop.

    Raises:
        BlockingCallError: It is; the error names the async twin.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise BlockingCallError(call, twin)


def refuse_in_import() -> None:
    """Raise when called while a user's module is imported to find a node.

    Every worker that imports it would start one more run, and wait for it in a slot of its own.

    Raises:
        UsageError: It is; the error names the module and the way out.
    """
    if module := being_imported():
        msg = (
            f"module {module!r} starts a run while it is imported; "
            'put that under if __name__ == "__main__":'
        )
        raise UsageError(msg)


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

    def signal(self, name: str, /, **value: Any) -> None:
        """Give a signal to the nodes that wait for it, or keep it for the first that will.

        Args:
            name: The signal's name, as the node's ``with`` says it.
            **value: What the node gives on, as a map: plain data.

        Raises:
            RunNotFoundError: No run has this id.
            UsageError: The run has ended, or the name is empty.
            UnsupportedValueError: The value is not plain data.
        """
        if not name:
            msg = "a signal needs a name, such as review"
            raise UsageError(msg)
        runtime = self._session.runtime
        advance = runtime.store.signal(self.id, name, pack(value, what=f"signal {name!r}"))
        if advance is None:
            raise RunNotFoundError(self.id)
        if not advance.accepted:
            msg = (
                f"run {self.id!r} has ended ({self.status()}): no node waits for a signal any more"
            )
            raise UsageError(msg)
        if advance.dispatch is not None:
            runtime.dispatcher.publish(advance.dispatch, self.plan())

    async def asignal(self, name: str, /, **value: Any) -> None:
        """Signal without blocking."""
        await in_thread(functools.partial(self.signal, name, **value))

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
            if page and page[-1].type.is_terminal:
                return
            after = page[-1].id if page else after

    async def stream(self, *, after: int = 0) -> AsyncIterator[Event]:
        """Replay and follow like ``events``; resume after the id of the last event seen."""
        await in_thread(self.summary)
        while True:
            page = await in_thread(self._page, after)
            for event in page:
                yield event
            if page and page[-1].type.is_terminal:
                return
            after = page[-1].id if page else after

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

    def _page(self, after: int) -> Sequence[Event]:
        self._session.check_progress()
        events = self._session.runtime.events
        return self._session.persist(lambda: events.read(self.id, after=after, block=_SLICE))

    def _wait(self, timeout: float | None) -> ExecutionResult:
        self.summary()
        ends = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _SLICE if ends is None else min(_SLICE, ends - time.monotonic())
            if self._has_ended(max(left, 0.001)):
                return self._session.persist(self._collect)
            self._session.check_progress()
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
