"""The handle of a run.

In: a run's id and a session. Out: its status, result, events; control. Blocking calls have async
twins whose names start with ``a``.
"""

import asyncio
from collections.abc import Generator, Sequence
from concurrent.futures import wait
from functools import partial
from typing import Any

from flowcore.assembly.session import Session, default_session
from flowcore.client.hub import hub_of
from flowcore.client.outputs import Outputs, PayloadRef
from flowcore.client.queries import Finding
from flowcore.client.results import result_of
from flowcore.client.streaming import Patience, RunStreaming
from flowcore.client.threads import in_thread, refuse_in_loop
from flowcore.engine.values.output_batches import portions
from flowcore.errors import RunNotFoundError
from flowcore.plan.plan import Plan
from flowcore.ports.backend import ExecutionResult
from flowcore.run.record import RunRecord, RunSummary
from flowcore.run.reference import Reference
from flowcore.run.status import RunState

__all__ = ["Run"]


class Run(RunStreaming, Finding):
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
    async def aget(cls, id: str, *, session: Session | None = None) -> "Run":
        """Return the handle of an existing run without blocking."""
        return await in_thread(lambda: cls.get(id, session=session))

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
        return self._wait(timeout).output

    async def aresult(self, timeout: float | None = None) -> Any:
        """Wait like ``result`` without blocking."""
        return (await self.await_end(timeout)).output

    def __await__(self) -> Generator[Any, None, ExecutionResult]:
        """``await handle`` gives the ExecutionResult, whatever the run came to."""
        return self.await_end().__await__()

    async def await_end(self, timeout: float | None = None) -> ExecutionResult:
        """Wait like ``wait`` without blocking; ``await handle`` with a time limit."""
        hub, patience = hub_of(self._session), Patience(self.id, timeout)
        while True:
            server = await asyncio.wrap_future(hub.look(self._unended))
            if server is not None:
                end = asyncio.wrap_future(hub.end(server, self.id))
                try:
                    while not (await asyncio.wait((end,), timeout=patience.slice()))[0]:
                        patience.check()
                    end.result()
                finally:
                    end.cancel()
            result = await in_thread(self._result)
            if result.state.is_terminal:  # else somebody has just resumed it
                return result

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
        return value.fetch() if isinstance(value, PayloadRef) else value

    def input_reference(self) -> Reference | None:
        """Say where the run's input is kept, if it is a large one."""
        value = self._input()
        return value.reference if isinstance(value, PayloadRef) else None

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
        return PayloadRef(reference, partial(payloads.unpack, blob, what=what))

    def _wait(self, timeout: float | None) -> ExecutionResult:
        hub, patience = hub_of(self._session), Patience(self.id, timeout)
        while True:
            server = self._unended()
            if server is not None:
                end = hub.end(server, self.id)
                try:
                    while not wait((end,), timeout=patience.slice())[0]:
                        patience.check()
                    end.result()
                finally:
                    end.cancel()
            result = self._result()
            if result.state.is_terminal:  # else somebody has just resumed it
                return result

    def _unended(self) -> int | None:
        """Return the server that has the run; None when the run has ended."""
        if self.summary().state.is_terminal:
            return None
        return self._session.runtime.events.place(self.id)

    def _result(self) -> ExecutionResult:
        result: ExecutionResult = self._session.persist(self._collect)
        return result

    def _collect(self) -> ExecutionResult:
        return result_of(self.record(), self.plan(), self.outputs())
