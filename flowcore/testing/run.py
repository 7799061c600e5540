"""A run in a test, as its handle.

In: a runner, a run's id. Out: where it stands, what it came to, and all that can be done to a run.
Not here: running it (flows).

What is done to it is done by the code of real handles; then the run goes on as far as it gets.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, Protocol, Self, cast

from flowcore.assembly.session import Session
from flowcore.client.control import RunControl
from flowcore.client.outputs import Outputs
from flowcore.client.results import result_of
from flowcore.engine.runs.control import require_dead_letter
from flowcore.errors import UsageError
from flowcore.ports.backend import ExecutionResult
from flowcore.run.event import Event
from flowcore.run.record import RunRecord
from flowcore.run.status import RunState
from flowcore.testing.environment import InProcess

__all__ = ["Runner", "TestRun"]


class Runner(Protocol):
    """Interface of the runner behind a run."""

    now: float
    session: InProcess

    def record(self, run: str) -> RunRecord:
        """All that is recorded of a run."""
        ...

    def events(self, run: str) -> list[Event]:
        """Return the events of a run, in order."""
        ...

    def proceed(self) -> None:
        """Let all runs go on as far as they get without time passing."""
        ...


class TestRun(RunControl):
    """A run of a test."""

    __test__ = False  # no test of pytest's, whatever its name

    def __init__(self, id: str, *, session: Any) -> None:
        """Name a run; ``Flows.start`` makes one, ``Flows.get`` finds one."""
        super().__init__(id, session=cast("Session", session))
        self._flows: Runner = session.runner

    def __repr__(self) -> str:
        """Show the id."""
        return f"<TestRun {self.id!r}>"

    @property
    def state(self) -> RunState:
        """State of the run."""
        return self.record.state

    @property
    def record(self) -> RunRecord:
        """All that is recorded of it, with its nodes."""
        return self._flows.record(self.id)

    @property
    def events(self) -> list[Event]:
        """Events of the run, in order."""
        return self._flows.events(self.id)

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs there are so far, by node."""
        runtime = self._flows.session.runtime
        ids = self._flows.session.plan_of(self.id).ids
        kept = runtime.store.outputs(self.id)
        return Outputs(
            (ids[node], runtime.payloads.unpack(blob, what=f"output of node {ids[node]!r}"))
            for node, blob in sorted(kept.items())
        )

    def output(self, node: str) -> Any:
        """Return a node's output; ``KeyError`` if it has none.

        Raises:
            UsageError: The flow has no such node.
        """
        ids = self._flows.session.plan_of(self.id).ids
        if node not in ids:
            near = get_close_matches(node, ids, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(ids[:10])}"
            raise UsageError(f"run {self.id!r} has no node {node!r}; {hint}")
        return self.outputs[node]

    def inside(self, path: str) -> "TestRun":
        """A run that a node of this one has started, such as ``embed`` or ``embed/3``.

        Raises:
            RunNotFoundError: There is none.
        """
        run = TestRun(f"{self.id}/{path}", session=self._flows.session)
        _ = run.record
        return run

    def children(self) -> Iterator["TestRun"]:
        """The runs that nodes of this one have started."""
        for child in sorted(self._flows.session.runtime.store.children(self.id)):
            yield TestRun(child, session=self._flows.session)

    def signal(self, name: str, /, **value: Any) -> None:
        """Give a signal, and let the run go on as far as it gets."""
        super().signal(name, **value)
        self._flows.proceed()

    def cancel(self, reason: str = "cancelled by the test") -> RunState:
        """Stop it."""
        super().cancel(reason)
        self._flows.proceed()
        return self.state

    def pause(self) -> RunState:
        """Hold it: no further node starts."""
        super().pause()
        self._flows.proceed()
        return self.state

    def resume(self) -> RunState:
        """Let it go on that is paused, or that has failed or was cancelled."""
        return self._resume()

    def requeue(self, node: str | None = None) -> RunState:
        """Resume it, if it has dead letters."""
        require_dead_letter(self.record, node)
        return self._resume()

    def rerun(
        self, from_node: str | None = None, with_input: Any = None, *, id: str | None = None
    ) -> Self:
        """Start a new run after the pattern of this one, and let it go on as far as it gets."""
        return self._rerun(from_node, with_input, id)

    def result(self) -> ExecutionResult:
        """Return the result so far."""
        outputs = cast("Outputs", self.outputs)
        plan = self._flows.session.plan_of(self.id)
        return result_of(self.record, plan, outputs, now=self._flows.now)

    def _resume(self) -> RunState:
        super()._resume()
        self._flows.proceed()
        return self.state

    def _rerun(self, from_node: str | None, with_input: Any, id: str | None) -> Self:
        made = super()._rerun(from_node, with_input, id)
        self._flows.proceed()
        return made

    def _answer(self, node: str | None, value: dict[str, Any]) -> str:
        path = super()._answer(node, value)
        self._flows.proceed()
        return path
