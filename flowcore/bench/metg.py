"""METG(50 %): how small nodes may be before the engine costs as much as they do.

In: a stand. Out: for each Task Bench pattern the figure and its curve. Not here: the search
(stats), the patterns (dags).
"""

import os
import statistics
import subprocess
import sys
from typing import Any

from flowcore.bench.dags import PATTERNS, Work, pattern
from flowcore.bench.harness import BenchHarness, compiled
from flowcore.bench.stats import LONGEST, Point, metg
from flowcore.bench.throughput import Tell

__all__ = ["metg_of_patterns", "round_seconds"]

_TARGET = 0.5
_POINTS_PER_SLOT = 4
_SPIN = "from flowcore.bench.nodes import calibrate; print(calibrate())"


def round_seconds(cores: int) -> float:
    """Measure what one round of ``spin`` takes while all cores spin: the peak to compare with.

    Together, because cores that share a clock or a neighbour give less than each by itself.

    Args:
        cores: How many spin at once, in processes of their own.
    """
    spinners = [
        subprocess.Popen([sys.executable, "-c", _SPIN], stdout=subprocess.PIPE, text=True)  # noqa: S603
        for _ in range(cores)
    ]
    return statistics.fmean(float(spinner.communicate()[0]) for spinner in spinners)


def metg_of_patterns(stand: BenchHarness, *, steps: int, repeat: int, tell: Tell) -> dict[str, Any]:
    """Search METG(50 %) of each pattern.

    Args:
        stand: Where.
        steps: Timesteps of each graph; its width is four times the slots, as a power of two.
        repeat: Runs of each point; the quickest counts.
        tell: Hears of progress.
    """
    # A kernel holds Python's lock: threads of one process share one core.
    slots = stand.worker.slots if stand.worker.pool == "prefork" else 1
    cores = min(slots, os.cpu_count() or 1)
    width = 1 << (_POINTS_PER_SLOT * stand.worker.slots - 1).bit_length()
    found: dict[str, Any] = {}
    for name in PATTERNS:
        dag = pattern(name, width=width, steps=steps)
        cost = round_seconds(cores)

        def measure(kernel: float, dag: Any = dag, cost: float = cost) -> Point:
            rounds = max(1, round(kernel / cost))
            plan = compiled(dag, Work.of("spin", rounds=rounds), id=f"{dag.name}-{rounds}")
            stand.warm_up(plan)
            seconds = min(stand.run(plan).seconds for _ in range(repeat))
            return Point(kernel_s=rounds * cost, granularity_s=seconds * cores / len(dag.needs))

        figure, points = metg(measure, target=_TARGET)
        found[name] = {
            "metg_s": figure,
            "width": width,
            "steps": steps,
            "nodes": len(dag.needs),
            "cores": cores,
            "points": [
                {
                    "kernel_s": point.kernel_s,
                    "granularity_s": point.granularity_s,
                    "efficiency": point.efficiency,
                }
                for point in points
            ],
        }
        shown = f"{figure * 1000:.2f} ms" if figure else f"not reached with {LONGEST * 1000:g} ms"
        tell(f"METG(50 %) of {name}: {shown}")
    return found
