"""The registry of deployed flows: names that stand for plans.

In: a name, a version, a plan. Out: what is deployed. Not here: runs, which are pinned to a plan and
do not ask again.
"""

from dataclasses import dataclass
from typing import Protocol

from flowcore.ports.listing import Listing

__all__ = ["DeployedFlow", "FlowRegistry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedFlow:
    """One version of a flow that can be run by its name."""

    name: str
    version: str
    plan: str
    """Content hash of its plan."""
    deployed: float
    """Unix seconds of the last time that this changed."""
    nodes: int = 0
    description: str = ""
    paths: tuple[str, ...] = ()
    """Directories in which local workers find its modules."""

    @property
    def address(self) -> str:
        """Address by which it is run: ``name@version``."""
        return f"{self.name}@{self.version}"


class FlowRegistry(Protocol):
    """Keeps deployed flows, and their plans for as long."""

    def deploy(self, flow: DeployedFlow) -> bool:
        """Keep a flow under its name and version, whose plan the store has; say if that is new.

        Raises:
            KeyError: The store does not have the plan.
        """
        ...

    def find(self, name: str, version: str | None = None) -> DeployedFlow | None:
        """Return a version of a flow: the one deployed last when none is named."""
        ...

    def flows(self) -> Listing[DeployedFlow]:
        """Return every version of every flow, the latest deployed first."""
        ...

    def remove(self, name: str, version: str) -> bool:
        """Forget a version; runs of it go on. Say whether there was one."""
        ...
