"""Growth: time with the size of a flow, memory with the number of nodes that have run.

In: a stand. Out: the points, and how steep they are. Not here: throughput.
"""

import time
from collections.abc import Sequence
from typing import Any

from flowcore.bench.dags import Dag, Work, named
from flowcore.bench.harness import BenchHarness, compiled, seconds_of
from flowcore.bench.redis_counters import usage
from flowcore.bench.stats import exponent, slope
from flowcore.bench.throughput import Tell
from flowcore.client.flow import start_run

__all__ = ["growth", "memory"]

_STEPS = ("compile_s", "submit_s", "run_s", "cpu_s")
#: A layer's width: with it edges grow as nodes do.
_WIDTH = 10
#: Runs of smaller flows are repeated, and the quickest counts: they are over in no time.
_SMALL = 10_000
_TRIES = 3


def growth(stand: BenchHarness, *, sizes: Sequence[int], tell: Tell) -> dict[str, Any]:
    """Measure how the cost of a flow grows with its nodes, from compiling it to its end.

    Args:
        stand: Where.
        sizes: Nodes of each flow, rising; at least two.
        tell: Hears of progress.

    Returns:
        By shape: the points, and for each step the exponent over all of them and over the last
        two. 1 is linear.
    """
    names = {
        "chain": [f"chain{size}" for size in sizes],
        "fan": [f"fan{size}" for size in sizes],
        "layered": [f"layered{size // _WIDTH}x{_WIDTH}" for size in sizes],
    }
    found: dict[str, Any] = {}
    for shape, dags in names.items():
        stand.warm_up(compiled(named(dags[0]), Work()))
        points = [_point(stand, named(name)) for name in dags]
        found[shape] = {
            "points": points,
            "exponent": _exponents(points),
            "last_exponent": _exponents(points[-2:]),
        }
        last = points[-1]
        tell(
            f"{shape} of {last['nodes']} nodes: {last['run_s'] / last['nodes'] * 1e3:.2f} ms a "
            f"node, exponent {found[shape]['exponent']['run']:.2f}"
        )
    return found


def _point(stand: BenchHarness, dag: Dag) -> dict[str, Any]:
    nodes = len(dag.needs)
    tries = _TRIES if nodes < _SMALL else 1
    times = [_once(stand, dag, f"{dag.name}-{number}") for number in range(tries)]
    best = {name: min(each[name] for each in times) for name in times[0]}
    return {"nodes": nodes, "edges": dag.edges, **best}


def _once(stand: BenchHarness, dag: Dag, id: str) -> dict[str, float]:
    """Take one new flow all the way; nobody has its plan yet."""
    stand.drain()
    began = time.process_time()
    plan = compiled(dag, Work(), id=id)
    compile_s = time.process_time() - began
    cpu, before = stand.cpu(), usage(stand.redis)
    began = time.perf_counter()
    run = start_run(stand.session, plan)
    submit_s = time.perf_counter() - began
    row = stand.finish(run, nodes=len(plan))
    stand.drain()
    found = {"compile_s": compile_s, "submit_s": submit_s, "run_s": seconds_of(row)}
    found["messages_per_node"] = (usage(stand.redis).messages - before.messages) / len(plan)
    used = sum(stand.cpu_since(cpu).values())
    return {**found, "cpu_s": used} if used else found


def _exponents(points: Sequence[dict[str, Any]]) -> dict[str, float]:
    return {
        step.removesuffix("_s"): exponent([(point["nodes"], point[step]) for point in points])
        for step in _STEPS
        if all(step in point for point in points)
    }


def memory(stand: BenchHarness, *, runs: int, nodes: int, tell: Tell) -> dict[str, Any]:
    """Measure what the worker and the server hold after each of some equal runs.

    Args:
        stand: Where.
        runs: How many; at least two.
        nodes: Nodes of each.
        tell: Hears of progress.
    """
    plan = compiled(named(f"fan{nodes}"), Work())
    stand.warm_up(plan)
    points: list[dict[str, Any]] = []
    peaks: list[int] = []
    for number in range(1, runs + 1):
        measured = stand.run(plan)
        peaks.append(measured.worker_peak or 0)
        points.append(
            {
                "nodes": number * nodes,
                "worker_bytes": stand.worker_bytes(),
                "redis_bytes": measured.after.memory,
            }
        )
        tell(f"{number * nodes} nodes: Redis holds {measured.after.memory / 2**20:.0f} MiB")
    per_node = {
        key: slope([(point["nodes"], point[key]) for point in points])
        for key in ("worker_bytes", "redis_bytes")
        if all(point[key] is not None for point in points)
    }
    return {
        "nodes": runs * nodes,
        "points": points,
        "worker_peak_bytes": max(peaks) or None,
        "worker_bytes_per_node": per_node.get("worker_bytes"),
        "redis_bytes_per_node": per_node["redis_bytes"],
    }
