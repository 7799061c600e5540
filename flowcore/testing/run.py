"""A run in a test, as its handle.

In: a runner, a run's id. Out: where it stands, what it came to. Not here: running it (flows).
"""

from collections.abc import Mapping
from typing import Any, Protocol

from flowcore.plan.plan import Plan
from flowcore.ports.backend import ExecutionResult
from flowcore.run.event import Event
from flowcore.run.record import RunRecord
from flowcore.run.status import RunState
from flowcore.run.wire import unpack
from flowcore.stores.inmemory.store import InMemoryStore

__all__ = ["Runner", "TestRun"]


class Runner(Protocol):
    """What has a run."""

    now: float
    store: InMemoryStore

    def record(self, run: str) -> RunRecord:
        """All that is recorded of a run."""
        ...

    def events(self, run: str) -> list[Event]:
        """What has happened in a run, in order."""
        ...

    def signal(self, run: str, name: str, value: Mapping[str, Any]) -> None:
        """Give a signal to a run."""
        ...

    def answer(self, run: str, node: str, value: Mapping[str, Any]) -> None:
        """Answer a node of a run that asks for an approval."""
        ...

    def cancel(self, run: str, reason: str) -> None:
        """Stop a run."""
        ...


class TestRun:
    """A run of a test."""

    __test__ = False  # no test of pytest's, whatever its name

    def __init__(self, flows: Runner, id: str, plan: Plan) -> None:
        """Name a run; ``Flows.start`` makes one."""
        self.id = id
        self._flows = flows
        self._plan = plan

    @property
    def state(self) -> RunState:
        """Where it stands."""
        return self.record.state

    @property
    def record(self) -> RunRecord:
        """All that is recorded of it, with its nodes."""
        return self._flows.record(self.id)

    @property
    def events(self) -> list[Event]:
        """What has happened, in order."""
        return self._flows.events(self.id)

    def output(self, node: str) -> Any:
        """What a node gave; ``KeyError`` if it gave nothing."""
        return self.result().outputs[node]

    def signal(self, name: str, /, **value: Any) -> None:
        """Give a signal, and let the run go on as far as it gets."""
        self._flows.signal(self.id, name, value)

    def approve(self, node: str, /, **more: Any) -> None:
        """Say yes to a node that asks; the first answer counts."""
        self._flows.answer(self.id, node, {**more, "approved": True})

    def reject(self, node: str, /, **more: Any) -> None:
        """Say no to a node that asks; the first answer counts."""
        self._flows.answer(self.id, node, {**more, "approved": False})

    def cancel(self, reason: str = "cancelled by the test") -> None:
        """Stop it."""
        self._flows.cancel(self.id, reason)

    def result(self) -> ExecutionResult:
        """What it has come to so far."""
        record, store = self.record, self._flows.store
        ids = self._plan.ids
        outputs = {ids[node]: unpack(blob) for node, blob in store.outputs(self.id).items()}
        success = record.state is RunState.SUCCEEDED
        last = [ids[node] for node in self._plan.sinks if ids[node] in outputs]
        one = len(self._plan.sinks) == 1
        output = outputs.get(last[0]) if one and last else {id: outputs[id] for id in last}
        return ExecutionResult(
            success=success,
            output=output if success else None,
            outputs=outputs,
            error=_sentence(record),
            duration=(record.finished or self._flows.now) - record.created,
            run_id=self.id,
            state=record.state,
            nodes=record.nodes,
        )


def _sentence(record: RunRecord) -> str | None:
    if record.error is None:
        return None
    where = f"node {record.error.node!r}: " if record.error.node else ""
    return f"{where}{record.error.type}: {record.error.message}"
