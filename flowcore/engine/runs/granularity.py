"""Granularity of units: estimates of durations, and the batch sizes that follow from them.

In: how long nodes took. Out: a Grain, that is, how many of them a unit keeps and how many travel
in one message. Not here: doing it (the store's scripts).

A message costs a few milliseconds of CPU. So nodes that are shorter than that travel together,
about ``GRAIN`` seconds of work at a time, and more where there is plenty of it for everybody.
"""

from flowcore.plan.plan import Plan
from flowcore.ports.unit import BatchSize, Granularity

__all__ = ["GRAIN", "PLENTY", "DurationEstimates"]

#: Seconds of ready work that a unit keeps for itself; what takes as long travels by itself,
#: unless there is plenty.
GRAIN = 0.005

#: Seconds of work that one message may carry where there is plenty for everybody.
PLENTY = 0.05

#: Messages for each slot of the workers that make plenty.
_TURNS = 4

#: Nodes in one message.
_MOST = 5000

#: What nobody has run yet is thought to take: a unit gives back what takes longer.
_UNKNOWN = 0.0001
_MOST_UNKNOWN = 200

#: The engine's own share of a node that does nothing.
_FLOOR = 0.00001

#: Weight of the latest duration in the estimate.
_WEIGHT = 0.1


class DurationEstimates:
    """Estimated durations of nodes, by their ``uses``; one per process."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._costs: dict[str, float] = {}
        self._met: set[str] = set()

    def note(self, uses: str, seconds: float) -> None:
        """Learn from a node that has ended."""
        known = self._costs.get(uses)
        fresh = max(seconds, _FLOOR)
        if known is not None:
            self._costs[uses] = known + (fresh - known) * _WEIGHT
        elif uses in self._met:
            self._costs[uses] = fresh
        else:
            self._met.add(uses)  # the first one imports its module: that says nothing of others

    def cost(self, uses: str) -> float | None:
        """Return the seconds that such a node takes; None when nobody knows."""
        return self._costs.get(uses)

    def grain(
        self, plan: Plan, *, queue: str | None, slots: int, spent: float = 0.0
    ) -> Granularity:
        """Say how to share out what becomes ready.

        Args:
            plan: The plan.
            queue: The queue of the unit that asks, as policies name it.
            slots: How many nodes the workers can run at a time.
            spent: Seconds of work that the unit has already.
        """
        packs = {}
        for number, policy in enumerate(plan.policies):
            if not policy.alone:
                pack = self._pack(policy.uses, here=policy.queue == queue)
                if pack.here or pack.most > 1:
                    packs[number] = pack
        return Granularity(
            packs=packs, budget=max(GRAIN - spent, 0.0), share=_TURNS * max(slots, 1)
        )

    def _pack(self, uses: str, *, here: bool) -> BatchSize:
        cost = self._costs.get(uses)
        if cost is None:
            return BatchSize(cost=_UNKNOWN, least=1, most=_MOST_UNKNOWN, here=here)
        least = min(max(int(GRAIN / cost), 1), _MOST)
        most = min(max(int(PLENTY / cost), least), _MOST)
        return BatchSize(cost=cost, least=least, most=most, here=here)
