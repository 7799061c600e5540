"""The registry of deployed flows in memory.

In: flows to deploy. Out: what is deployed. It is shipped for tests, in one process.
"""

import threading

from flowcore.ports.flows import DeployedFlow
from flowcore.ports.listing import Listing
from flowcore.ports.store import RunStore

__all__ = ["InMemoryFlows"]


class InMemoryFlows:
    """Implements ``FlowRegistry`` in this process."""

    def __init__(self, plans: RunStore) -> None:
        """Keep flows whose plans are in that store."""
        self._plans = plans
        self._kept: dict[str, DeployedFlow] = {}
        self._lock = threading.Lock()

    def deploy(self, flow: DeployedFlow) -> bool:
        """Keep a flow under its name and version."""
        self._plans.get_plan(flow.plan)
        with self._lock:
            was = self._kept.get(flow.address)
            self._kept[flow.address] = flow
            return was is None or was.plan != flow.plan

    def find(self, name: str, version: str | None = None) -> DeployedFlow | None:
        """Return a version of a flow, the one deployed last when none is named."""
        if version is not None:
            return self._kept.get(f"{name}@{version}")
        return next((flow for flow in self.flows() if flow.name == name), None)

    def flows(self) -> Listing[DeployedFlow]:
        """Return every version of every flow, the latest deployed first."""
        with self._lock:
            kept = list(self._kept.values())
        return Listing(sorted(kept, key=lambda one: (-one.deployed, one.address)))

    def remove(self, name: str, version: str) -> bool:
        """Forget a version."""
        with self._lock:
            return self._kept.pop(f"{name}@{version}", None) is not None
