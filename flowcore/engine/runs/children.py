"""Starting runs for nodes: ``Children`` on a run store.

In: what a node wants to start. Out: the run exists, or goes on, and its starts are on their way.
Not here: which runs (child_runs.structured).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flowcore.engine.runs.granularity import DurationEstimates
from flowcore.engine.runs.submit import submit
from flowcore.engine.values.payloads import Payloads
from flowcore.plan.plan import Plan
from flowcore.ports.dispatcher import Dispatcher
from flowcore.ports.store import RunReader, RunStore, SubmitResult
from flowcore.run.record import Parent

__all__ = ["EngineChildren"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineChildren:
    """Implements ``Children``."""

    store: RunStore
    reader: RunReader
    dispatcher: Dispatcher
    payloads: Payloads
    slots: Callable[[], int] | None
    """How many nodes the workers can run at a time; None: none may travel together."""

    def start(self, id: str, plan: Plan, input: Any, parent: Parent) -> SubmitResult:
        """Create the run where its parent is: same namespace, same priority."""
        over = self.reader.summary(parent.run)
        _, submitted = submit(
            self.store,
            self.dispatcher,
            plan,
            input=input,
            run_id=id,
            namespace=over.namespace if over else "",
            priority=over.priority if over else 5,
            payloads=self.payloads,
            slots=self.slots,
            parent=parent,
        )
        return submitted

    def resume(self, id: str, parent: Parent) -> None:
        """Let a run go on that has failed or was cancelled."""
        summary = self.reader.summary(id)
        grain = None
        if summary is not None and self.slots is not None:
            plan = self.store.get_plan(summary.plan)
            grain = DurationEstimates().grain(plan, queue=None, slots=self.slots())
        resumed = self.store.resume(id, grain=grain, parent=parent)
        if resumed is not None and resumed.dispatch is not None:
            plan = self.store.get_plan(resumed.dispatch.plan)
            self.dispatcher.publish(resumed.dispatch, plan)
