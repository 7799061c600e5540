"""The arithmetic of the benchmark.

In: what was measured. Out: percentiles, slopes, exponents, METG. Not here: measuring.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["LONGEST", "Point", "exponent", "metg", "percentile", "slope"]

#: A kernel shorter than this is below what Python's own call of a function costs.
_SHORTEST = 20e-6
#: An engine that is not efficient by then loses parallelism, not time: longer kernels are no help.
LONGEST = 0.032


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies, between two of them if need be.

    Args:
        values: At least one.
        share: 0 to 1.
    """
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Fit a line by least squares and return its slope; 0 when all x are the same."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Return the power of x with which y grows: 1 is linear, 2 quadratic.

    Args:
        points: Both coordinates above 0.
    """
    return slope([(math.log(x), math.log(y)) for x, y in points])


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point of a METG curve."""

    kernel_s: float
    """Seconds of work in one task."""
    granularity_s: float
    """Wall time x cores / tasks."""

    @property
    def efficiency(self) -> float:
        """The share of the cores' time that was spent on work."""
        return self.kernel_s / self.granularity_s


def metg(
    measure: Callable[[float], Point],
    *,
    target: float = 0.5,
    start: float = 1e-3,
    halvings: int = 3,
) -> tuple[float | None, list[Point]]:
    """Search the minimum effective task granularity.

    E. Slaughter et al., "Task Bench", SC20: the smallest average granularity of tasks (wall time x
    cores / tasks) at which the efficiency is at least ``target``. The curve is taken to rise.

    Args:
        measure: Runs the graph with a kernel of so many seconds.
        target: The efficiency, 0 to 1.
        start: The first kernel, in seconds; it is doubled or halved until the target lies between.
        halvings: How often the bracket is then halved, on a scale of logarithms.

    Returns:
        METG in seconds and all points by kernel; None if no kernel is long enough. Where even the
        shortest kernel reaches the target, the granularity of that one, an upper bound.
    """
    points = [measure(start)]
    rising = points[0].efficiency < target
    while (points[-1].efficiency < target) == rising:
        kernel = points[-1].kernel_s * (2 if rising else 0.5)
        if not _SHORTEST <= kernel <= LONGEST:
            ordered = sorted(points, key=lambda point: point.kernel_s)
            return (None if rising else ordered[0].granularity_s), ordered
        points.append(measure(kernel))
    low, high = sorted(points[-2:], key=lambda point: point.kernel_s)
    for _ in range(halvings):
        middle = measure(math.sqrt(low.kernel_s * high.kernel_s))
        points.append(middle)
        low, high = (middle, high) if middle.efficiency < target else (low, middle)
    return _between(low, high, target), sorted(points, key=lambda point: point.kernel_s)


def _between(low: Point, high: Point, target: float) -> float:
    """Interpolate the granularity at the target, on logarithms."""
    share = (target - low.efficiency) / (high.efficiency - low.efficiency)
    return low.granularity_s * float((high.granularity_s / low.granularity_s) ** share)
