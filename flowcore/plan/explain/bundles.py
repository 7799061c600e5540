"""BUNDLES: many edges that lead from the same nodes to the same nodes, as few lines.

In: Plan. Out: bundles, and the edges that are in none. Not here: drawing (svg).

Two layers of a hundred nodes each, all joined to all, are 10,000 edges; drawn through one point
they are 200 lines that say the same. Nodes with equal successors are the sources of a bundle; an
edge with a condition is in none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from flowcore.plan.plan import Plan

__all__ = ["Bundle", "bundled"]

#: A picture with fewer edges shows each by itself.
_FEW = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Every source leads to every target."""

    sources: tuple[int, ...]
    targets: tuple[int, ...]

    def __len__(self) -> int:
        """Count the lines that it takes."""
        return len(self.sources) + len(self.targets)


def bundled(plan: Plan) -> tuple[Sequence[Bundle], Sequence[tuple[int, int]]]:
    """Take a plan's edges apart into bundles and the rest."""
    if sum(map(len, plan.succ)) <= _FEW:
        return (), [(source, to) for source, succ in enumerate(plan.succ) for to in succ]
    siblings: dict[tuple[int, ...], list[int]] = {}
    rest: list[tuple[int, int]] = []
    for source, succ in enumerate(plan.succ):
        if plan.is_conditional(source):
            rest += [(source, to) for to in succ]
        else:
            siblings.setdefault(succ, []).append(source)
    bundles = []
    for targets, sources in siblings.items():
        one = Bundle(sources=tuple(sources), targets=targets)
        if len(one) < len(sources) * len(targets):
            bundles.append(one)
        else:
            rest += [(source, to) for source in sources for to in targets]
    return bundles, sorted(rest)
