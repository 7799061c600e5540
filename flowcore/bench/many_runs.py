"""Many small runs at once.

In: a stand. Out: runs and nodes per second. Not here: one large run (throughput).
"""

import time
from typing import Any

from flowcore.bench.dags import Work, named
from flowcore.bench.harness import BenchHarness, compiled, seconds_of
from flowcore.bench.stats import percentile
from flowcore.bench.throughput import Tell
from flowcore.client.flow import start_run

__all__ = ["small_runs"]


def small_runs(stand: BenchHarness, *, runs: int, nodes: int, tell: Tell) -> dict[str, Any]:
    """Submit runs as fast as one client can, and wait for all of them.

    Args:
        stand: Where.
        runs: How many.
        nodes: Nodes of each: one, some in parallel, one that joins them.
        tell: Hears of progress.
    """
    plan = compiled(named(f"fan{nodes}"), Work())
    stand.warm_up(plan)
    started = time.time()
    handles = [start_run(stand.session, plan) for _ in range(runs)]
    submitted = time.time()
    rows = [stand.finish(run, nodes=runs * nodes) for run in handles]
    # The embedded server is on this machine: its clock is ours.
    seconds = max(row.finished or 0 for row in rows) - started
    taken = [seconds_of(row) for row in rows]
    tell(f"{runs} runs of {nodes} nodes: {runs / seconds:.0f} runs/s")
    return {
        "runs": runs,
        "nodes_per_run": nodes,
        "seconds": seconds,
        "runs_per_s": runs / seconds,
        "nodes_per_s": runs * nodes / seconds,
        "submitted_runs_per_s": runs / (submitted - started),
        "run_p50_s": percentile(taken, 0.5),
        "run_p99_s": percentile(taken, 0.99),
    }
