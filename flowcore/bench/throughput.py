"""Throughput of flows against the ceiling, and against an engine that costs nothing.

In: a stand and flows. Out: the ``dags`` of the report. Not here: how a run is measured (harness).
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowcore.bench.dags import Dag, Work
from flowcore.bench.harness import BenchHarness, Measured, compiled
from flowcore.bench.ideal import critical_path, ideal_makespan

__all__ = [
    "Ceilings",
    "Tell",
    "figures_of",
    "idle_flows",
    "merged",
    "real_pause",
    "working_flows",
]

_SLEEPS = 100

#: Hears a line of progress.
Tell = Callable[[str], None]


class Ceilings:
    """The ceiling, measured again and again: machines are noisy."""

    def __init__(self, stand: BenchHarness, tasks: int) -> None:
        """Warm the worker up."""
        self._stand, self._tasks = stand, tasks
        stand.ceiling(tasks)
        self.found: list[float] = []
        self.cpu: list[float] = []
        """Seconds of processor time for each task; empty where the kernel does not tell."""

    def again(self) -> float:
        """Measure once more; return the mean of this one and the one before."""
        before = self._stand.cpu()
        self.found.append(self._stand.ceiling(self._tasks))
        if used := sum(self._stand.cpu_since(before).values()):
            self.cpu.append(used / self._tasks)
        return statistics.fmean(self.found[-2:])


def idle_flows(
    stand: BenchHarness, dags: Sequence[Dag], ceilings: Ceilings, *, repeat: int, tell: Tell
) -> dict[str, dict[str, Any]]:
    """Measure flows of nodes that do nothing, each between two ceilings.

    Returns:
        For each flow its figures, with ``ratio`` to the ceiling.
    """
    found: dict[str, dict[str, Any]] = {}
    ceilings.again()
    for dag in dags:
        plan = compiled(dag, Work())
        message = max(stand.first_message(plan), stand.warm_up(plan))
        middle = _middle([stand.run(plan) for _ in range(repeat)])
        ceiling = ceilings.again()
        figures = figures_of(middle)
        figures["ceiling_tasks_per_s"] = ceiling
        figures["ratio"] = figures["nodes_per_s"] / ceiling
        figures["message_bytes"] = message
        found[dag.name] = figures
        tell(f"{dag.name}: {figures['nodes_per_s']:.0f} nodes/s, {figures['ratio']:.2f} x ceiling")
    return found


def working_flows(
    stand: BenchHarness,
    dags: Sequence[Dag],
    *,
    name: str,
    seconds: float,
    repeat: int,
    tell: Tell,
) -> dict[str, dict[str, Any]]:
    """Measure flows of nodes that sleep.

    Args:
        stand: Where.
        dags: What.
        name: How the report calls such nodes, such as ``5ms``.
        seconds: How long each node sleeps.
        repeat: How often; the middle one is reported.
        tell: Hears of progress.

    Returns:
        For each flow its figures, with ``share_of_ideal``.
    """
    real = real_pause(seconds)
    found: dict[str, dict[str, Any]] = {}
    for dag in dags:
        plan = compiled(dag, Work.of("pause", seconds=seconds))
        message = max(stand.first_message(plan), stand.warm_up(plan))
        middle = _middle([stand.run(plan) for _ in range(repeat)])
        ideal = ideal_makespan(dag, seconds=real, slots=stand.worker.slots)
        figures = figures_of(middle)
        figures |= {
            "pause_s": real,
            "ideal_s": ideal,
            "critical_path_s": critical_path(dag) * real,
            "share_of_ideal": ideal / middle.seconds,
            "message_bytes": message,
        }
        found[dag.name] = figures
        tell(f"{dag.name} of {name} nodes: {figures['share_of_ideal']:.0%} of ideal")
    return found


def real_pause(seconds: float) -> float:
    """Measure how long such a sleep takes on this machine, on average."""
    started = time.perf_counter()
    for _ in range(_SLEEPS):
        time.sleep(seconds)
    return (time.perf_counter() - started) / _SLEEPS


def figures_of(run: Measured) -> dict[str, Any]:
    """Return what one run cost, by node."""
    before, after = run.before, run.after
    return {
        "nodes": run.nodes,
        "seconds": run.seconds,
        "nodes_per_s": run.nodes / run.seconds,
        "redis_commands_per_node": (after.commands - before.commands) / run.nodes,
        "redis_bytes_per_node": (after.traffic - before.traffic) / run.nodes,
        "redis_memory_bytes_per_node": run.kept / run.nodes,
        "messages_per_node": (after.messages - before.messages) / run.nodes,
        "cpu_s_per_node": sum(run.cpu.values()) / run.nodes if run.cpu else None,
        "cpu_s_per_node_of": {who: seconds / run.nodes for who, seconds in run.cpu.items()},
        "worker_peak_bytes": run.worker_peak,
        "redis_peak_bytes": run.server_peak,
    }


def _middle(runs: Sequence[Measured]) -> Measured:
    return sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]


def merged(
    flat: Mapping[str, dict[str, Any]], more: Mapping[str, Mapping[str, dict[str, Any]]]
) -> dict[str, dict[str, Any]]:
    """Put the figures of working nodes into those of idle ones.

    Args:
        flat: Of idle nodes, by flow.
        more: Of working ones, by the name of the work, then by flow.
    """
    names = [*flat, *(name for each in more.values() for name in each)]
    return {
        name: {**flat.get(name, {}), **{work: each[name] for work, each in more.items()}}
        for name in dict.fromkeys(names)
    }
