"""Latency on an idle worker: from submission to the first node, and from node to node.

In: a stand. Out: p50 and p99, in seconds. Not here: load (throughput, many_runs).

Nodes tell when they were called, in their outputs: events know only milliseconds. Everything runs
on one machine, so the client's clock is the workers'.
"""

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from flowcore.bench.dags import Work, named
from flowcore.bench.harness import BenchHarness, compiled
from flowcore.bench.stats import percentile
from flowcore.bench.throughput import Tell
from flowcore.client.flow import start_run
from flowcore.client.run import Run
from flowcore.run.wire import unpack

__all__ = ["latency"]

_WARM = 10


def latency(stand: BenchHarness, *, runs: int, chain: int, tell: Tell) -> dict[str, Any]:
    """Measure latencies.

    Args:
        stand: Where.
        runs: Runs of one node, one after the other.
        chain: Nodes of the chain.
        tell: Hears of progress.
    """
    plan = compiled(named("chain1"), Work.of("moment"))
    first: list[float] = []
    result: list[float] = []
    for number in range(_WARM + runs):
        stand.drain()
        sent = time.time()
        run = start_run(stand.session, plan)
        stand.finish(run, nodes=1)
        if number >= _WARM:
            result.append(time.time() - sent)
            first.append(_moments(stand, run)[0] - sent)
    plan = compiled(named(f"chain{chain}"), Work.of("moment"))
    stand.warm_up(plan)
    run = start_run(stand.session, plan)
    stand.finish(run, nodes=chain)
    between = [after - before for before, after in pairwise(_moments(stand, run))]
    found = {
        "submit_to_first_node": _spread(first),
        "submit_to_result": _spread(result),
        "node_to_node": _spread(between),
    }
    tell(
        f"submit to first node {found['submit_to_first_node']['p50_s'] * 1000:.1f} ms, "
        f"node to node {found['node_to_node']['p50_s'] * 1000:.2f} ms ({stand.worker.mode})"
    )
    return found


def _moments(stand: BenchHarness, run: Run) -> list[float]:
    outputs = stand.session.runtime.reader.outputs(run.id)
    return [unpack(outputs[node]) for node in sorted(outputs)]


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    return {
        "samples": len(seconds),
        "p50_s": percentile(seconds, 0.5),
        "p99_s": percentile(seconds, 0.99),
    }
