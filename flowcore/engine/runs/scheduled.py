"""Making the runs of schedules: ``Firing`` on a run store.

In: a schedule and a time. Out: its run exists and is on its way. Not here: when
(background.scheduler).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flowcore.engine.runs.deployments import find_flow, pinned
from flowcore.engine.runs.submit import submit
from flowcore.engine.values.payloads import Payloads
from flowcore.ports.dispatcher import Dispatcher
from flowcore.ports.flows import FlowRegistry
from flowcore.ports.schedules import Schedule
from flowcore.ports.store import RunReader, RunStore

__all__ = ["EngineFiring"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFiring:
    """Implements ``Firing``."""

    store: RunStore
    reader: RunReader
    dispatcher: Dispatcher
    payloads: Payloads
    flows: FlowRegistry
    namespace: str
    slots: Callable[[], int] | None = None

    def fire(self, schedule: Schedule, run: str, input: Any) -> None:
        """Create the run of a time, once per id.

        Raises:
            UsageError: The flow is not deployed, or the input is not what it declares.
        """
        found = find_flow(self.flows, schedule.flow)
        plan = pinned(self.store.get_plan(found.plan), self.flows, self.store.get_plan)
        submit(
            self.store,
            self.dispatcher,
            plan,
            input=input,
            run_id=run,
            tags=(*schedule.tags, f"schedule:{schedule.name}"),
            priority=schedule.priority,
            namespace=self.namespace,
            payloads=self.payloads,
            slots=self.slots,
        )

    def is_open(self, run: str) -> bool:
        """Return whether a run exists and has not ended."""
        summary = self.reader.summary(run)
        return summary is not None and not summary.state.is_terminal

    def cancel(self, run: str, reason: str) -> None:
        """Stop a run."""
        self.store.stop(run, reason=reason)
