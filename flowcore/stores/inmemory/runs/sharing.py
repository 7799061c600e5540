"""Sharing out what is ready: the counterpart of ``dispatch.lua``.

In: a grain, and the (node, attempt) pairs that are ready. Out: what stays with the unit, what
travels together, what travels alone. Not here: recording it (step).
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flowcore.ports.unit import BatchSize, Granularity
from flowcore.stores.inmemory.runs.run import StoredRun

__all__ = ["Sharing"]


class Spare(Protocol):
    """Capacity that a unit has left."""

    run: StoredRun
    spare: int
    idle: bool
    current: int | None


@dataclass(slots=True)
class Sharing:
    """One round of sharing out."""

    step: Spare
    grain: Granularity
    kept: list[int] = field(default_factory=list)
    together: list[list[int]] = field(default_factory=list)
    alone: list[tuple[int, int]] = field(default_factory=list)

    def share(self, ready: Sequence[tuple[int, int]]) -> None:
        """Share out (node, attempt) pairs."""
        policy_of, packs = self.step.run.plan.policy_of, self.grain.packs
        groups: dict[int, list[int]] = {}
        for node, attempt in ready:
            policy = policy_of[node]
            if node == self.step.current:
                self.kept.append(node)
            elif self.step.run.is_paused or attempt > 1 or policy not in packs:
                self.alone.append((node, attempt))
            else:
                groups.setdefault(policy, []).append(node)
        for policy, nodes in sorted(groups.items()):
            left = deque(sorted(nodes))
            self.kept += self._keep(packs[policy], left)
            self._wrap(packs[policy], left)

    def _keep(self, pack: BatchSize, nodes: deque[int]) -> Iterator[int]:
        """Take what the unit has time for."""
        step, cost = self.step, round(pack.cost * 1e6)
        while pack.here and nodes and (step.spare >= cost or step.idle):
            step.spare, step.idle = step.spare - cost, False
            yield nodes.popleft()

    def _wrap(self, pack: BatchSize, nodes: deque[int]) -> None:
        """Let nodes travel together; what is left over travels alone."""
        size = max(pack.least, min(pack.most, len(nodes) // self.grain.share))
        while nodes:
            together = [nodes.popleft() for _ in range(min(size, len(nodes)))]
            if len(together) == 1:
                self.alone.append((together[0], 1))
            else:
                self.together.append(together)
