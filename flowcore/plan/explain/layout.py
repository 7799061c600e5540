"""A layered layout of a plan, shared by the drawings.

In: Plan. Out: which column (layer) and where in it each node stands, and the way of each edge.
Not here: any output format.

The method is the classic one for layered drawings (Sugiyama, Tagawa, Toda 1981): an edge that
spans several layers passes through a *bend* in each layer between; the order within a layer comes
from sweeps that sort by the mean position of the neighbours (barycenter). Final positions are the
least-squares fit to the neighbours' mean under a minimum distance, which for a fixed order is
isotonic regression (pool adjacent violators).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from flowcore.plan.plan import Plan

__all__ = ["Layout", "arrange"]

_SWEEPS = 4
#: Above this many bends an edge goes straight: nobody can follow 50,000 of them anyway.
_MAX_BENDS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Positions of everything in the picture.

    Points are nodes (numbers below ``len(plan)``, the same as in the plan) and bends.
    """

    columns: tuple[tuple[int, ...], ...]
    """Per layer its points, in order."""
    position: tuple[float, ...]
    """Per point: its place across the layer; neighbours are at least 1 apart; the least is 0."""
    paths: tuple[tuple[int, ...], ...]
    """Per edge: source, bends, target; ordered by source, then target."""

    @property
    def breadth(self) -> float:
        """The largest position."""
        return max(self.position, default=0.0)


def arrange(plan: Plan, edges: Sequence[tuple[int, int]] | None = None) -> Layout:
    """Lay a plan out in layers; the same plan always gives the same layout.

    Args:
        plan: The plan.
        edges: Those that have a path each; None: all.
    """
    if edges is None:
        edges = [(source, target) for source, succ in enumerate(plan.succ) for target in succ]
    paths, levels = _route(plan, edges)
    columns: list[list[int]] = [[] for _ in range(max(levels, default=-1) + 1)]
    for point, level in enumerate(levels):
        columns[level].append(point)
    before, after = _neighbours(paths, levels)
    _reduce_crossings(columns, before, after)
    position = _place(columns, before, after)
    return Layout(
        columns=tuple(map(tuple, columns)), position=tuple(position), paths=tuple(map(tuple, paths))
    )


def _route(plan: Plan, edges: Sequence[tuple[int, int]]) -> tuple[list[list[int]], list[int]]:
    """Give each edge its bends; return the paths and the level of every point."""
    levels = list(plan.levels)
    if (last := plan.epilogue) is not None:  # its turn comes when all others have settled
        levels[last] = max(levels[:last], default=-1) + 1
    bends = sum(plan.levels[target] - plan.levels[source] - 1 for source, target in edges)
    paths: list[list[int]] = []
    for source, target in edges:
        path = [source]
        if bends <= _MAX_BENDS:
            for level in range(levels[source] + 1, levels[target]):
                path.append(len(levels))
                levels.append(level)
        path.append(target)
        paths.append(path)
    return paths, levels


def _neighbours(
    paths: Sequence[Sequence[int]], levels: Sequence[int]
) -> tuple[list[list[int]], list[list[int]]]:
    """Points that each point is joined to on the left and on the right."""
    before: list[list[int]] = [[] for _ in levels]
    after: list[list[int]] = [[] for _ in levels]
    for path in paths:
        for left, right in pairwise(path):
            after[left].append(right)
            before[right].append(left)
    return before, after


def _reduce_crossings(
    columns: list[list[int]], before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]
) -> None:
    """Sort every column by the mean rank of its neighbours, forth and back, in place."""
    rank = [0.0] * len(before)
    for column in columns:
        _number(column, rank)
    for sweep in range(_SWEEPS):
        forth = sweep % 2 == 0
        sides = before if forth else after
        for column in columns if forth else reversed(columns):
            means = {point: _mean(sides[point], rank, rank[point]) for point in column}
            column.sort(key=means.__getitem__)
            _number(column, rank)


def _number(column: Sequence[int], rank: list[float]) -> None:
    """Write down each point's rank, centred so that columns of all sizes compare."""
    middle = (len(column) - 1) / 2
    for at, point in enumerate(column):
        rank[point] = at - middle


def _mean(points: Sequence[int], values: Sequence[float], otherwise: float) -> float:
    """Mean value of some points."""
    return sum(map(values.__getitem__, points)) / len(points) if points else otherwise


def _place(
    columns: Sequence[Sequence[int]],
    before: Sequence[Sequence[int]],
    after: Sequence[Sequence[int]],
) -> list[float]:
    """Move every point towards its neighbours while all keep their order and distance."""
    position = [0.0] * len(before)
    for column in columns:
        _number(column, position)
    # The last sweep looks both ways, which centres a source between its targets.
    both = [[*left, *right] for left, right in zip(before, after, strict=True)]
    for sides, backwards in ((before, False), (after, True), (before, False), (both, True)):
        for column in reversed(columns) if backwards else columns:
            wished = [_mean(sides[point], position, position[point]) for point in column]
            for point, place in zip(column, _spread(wished), strict=True):
                position[point] = place
    least = min(position, default=0.0)
    return [place - least for place in position]


def _spread(wished: Sequence[float]) -> list[float]:
    """Nearest places to the wished ones, in order and at least 1 apart (least squares)."""
    blocks: list[tuple[float, int]] = []  # (sum of wishes shifted by rank, how many)
    for at, wish in enumerate(wished):
        total, size = wish - at, 1
        while blocks and blocks[-1][0] * size > total * blocks[-1][1]:
            above, count = blocks.pop()
            total, size = total + above, size + count
        blocks.append((total, size))
    shifted = [total / size for total, size in blocks for _ in range(size)]
    return [place + at for at, place in enumerate(shifted)]
