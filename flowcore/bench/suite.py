"""The whole benchmark: which sections, in which order, and the report they make.

In: options. Out: the report as plain data, which ``--json`` prints. Not here: options of a command
line and tables (cli).
"""

import os
import platform
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from typing import Any

from flowcore.bench.dags import STANDARD, named
from flowcore.bench.harness import MODES, BenchHarness, Worker
from flowcore.bench.latency import latency
from flowcore.bench.many_runs import small_runs
from flowcore.bench.metg import metg_of_patterns
from flowcore.bench.redis_counters import server_version
from flowcore.bench.scaling import growth, memory
from flowcore.bench.stream import streaming
from flowcore.bench.throughput import Ceilings, Tell, idle_flows, merged, working_flows
from flowcore.errors import UsageError
from flowcore.types import parse_duration

__all__ = ["NOOP", "QUICK", "Options", "Section", "measure"]

NOOP = "noop"
#: Load of each core, averaged over a minute, above which somebody else is at work.
_BUSY = 0.5
_QUICK_STEPS, _FULL_STEPS = 25, 100


class Section(StrEnum):
    """A part of the report."""

    THROUGHPUT = "throughput"
    LATENCY = "latency"
    SMALL_RUNS = "small-runs"
    STREAMING = "streaming"
    METG = "metg"
    MEMORY = "memory"
    GROWTH = "growth"


#: What a default benchmark has time for.
QUICK = (Section.THROUGHPUT, Section.LATENCY, Section.SMALL_RUNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Selection of measurements, and their sizes."""

    dags: tuple[str, ...] = STANDARD
    modes: tuple[str, ...] = ("grain",)
    """How nodes travel; the first is the one whose figures stand at the top of the report."""
    nodes: tuple[str, ...] = (NOOP, "5ms")
    sections: tuple[Section, ...] = QUICK
    repeat: int = 1
    tasks: int = 1000
    """No-op tasks of one ceiling."""
    pool: str = "prefork"
    slots: int = 2
    full: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be measured before anything is.

        Raises:
            UsageError: A name means nothing, or there is nothing to measure.
        """
        for name in self.dags:
            named(name)
        if odd := sorted(set(self.modes) - set(MODES)):
            msg = f"nodes do not travel as {odd[0]!r}; use {' or '.join(MODES)}"
            raise UsageError(msg)
        for name in self.nodes:
            _pause_of(name)
        if not (self.dags and self.modes and self.nodes and self.sections):
            raise UsageError("there is nothing to measure; leave an option out for its default")


def _pause_of(name: str) -> float | None:
    """Return how long such nodes sleep; None for those that do nothing.

    Raises:
        UsageError: The name means nothing.
    """
    if name == NOOP:
        return None
    try:
        seconds = parse_duration(name)
    except ValueError:
        seconds = 0.0
    if not seconds:
        msg = f"nodes do either nothing, 'noop', or sleep for a time such as '5ms', not {name!r}"
        raise UsageError(msg)
    return seconds


def measure(options: Options, tell: Tell) -> dict[str, Any]:
    """Run the benchmark.

    Args:
        options: What.
        tell: Hears a line at a time what was found.

    Returns:
        The report: plain data, times in seconds, sizes in bytes.

    Raises:
        RunFailedError: A run did not succeed.
        ServiceError: The server or the worker does not start, or dies.
    """
    report: dict[str, Any] = {"machine": _machine(options)}
    load = report["machine"]["load"]
    if load > _BUSY * (os.cpu_count() or 1):
        tell(f"the machine is busy already (load {load:.1f}): figures will be worse than they are")
    for mode in _modes(options):
        with BenchHarness(Worker(pool=options.pool, slots=options.slots, mode=mode)) as stand:
            report["machine"].setdefault("server", server_version(stand.redis))
            for section in _sections(options, mode):
                tell(f"{section}, {mode}:")
                found = _MEASURES[section](stand, options, tell)
                if section is Section.THROUGHPUT:
                    _add_throughput(report, found, mode, options)
                else:
                    report.setdefault(section.replace("-", "_"), {})[mode] = found
    return report


def _modes(options: Options) -> list[str]:
    """Latency has every mode: a message and a step inline are two different things."""
    every = MODES if Section.LATENCY in options.sections else ()
    return list(dict.fromkeys([*options.modes, *every]))


def _sections(options: Options, mode: str) -> list[Section]:
    if mode in options.modes:
        return [section for section in Section if section in options.sections]
    return [Section.LATENCY]


def _add_throughput(
    report: dict[str, Any], found: dict[str, Any], mode: str, options: Options
) -> None:
    """Put the first mode's figures at the top, those of others beside them under their name."""
    if mode == options.modes[0]:
        report.update(found)
        return
    for name, figures in found["dags"].items():
        report["dags"][name][mode] = figures


def _throughput(stand: BenchHarness, options: Options, tell: Tell) -> dict[str, Any]:
    dags = [named(name) for name in options.dags]
    ceilings = Ceilings(stand, options.tasks)
    consumed = [stand.ceiling_consumed(options.tasks)]
    idle: dict[str, dict[str, Any]] = {}
    if NOOP in options.nodes:
        idle = idle_flows(stand, dags, ceilings, repeat=options.repeat, tell=tell)
    else:
        ceilings.again()
    consumed.append(stand.ceiling_consumed(options.tasks))
    tell(f"ceiling: {statistics.fmean(ceilings.found):.0f} tasks/s")
    working = {
        name: working_flows(
            stand, dags, name=name, seconds=seconds, repeat=options.repeat, tell=tell
        )
        for name in options.nodes
        if (seconds := _pause_of(name)) is not None
    }
    return {
        "ceiling_tasks_per_s": statistics.fmean(ceilings.found),
        "ceiling_cpu_s_per_task": statistics.fmean(ceilings.cpu) if ceilings.cpu else None,
        "ceiling_consumed_tasks_per_s": statistics.fmean(consumed),
        "dags": {
            dag.name: {"nodes": len(dag.needs), "edges": dag.edges, **figures}
            for dag in dags
            for figures in [merged(idle, working)[dag.name]]
        },
    }


def _metg(stand: BenchHarness, options: Options, tell: Tell) -> dict[str, Any]:
    steps = _FULL_STEPS if options.full else _QUICK_STEPS
    return metg_of_patterns(stand, steps=steps, repeat=options.repeat, tell=tell)


def _latency(stand: BenchHarness, options: Options, tell: Tell) -> dict[str, Any]:
    return latency(stand, runs=1000 if options.full else 200, chain=1000, tell=tell)


def _small_runs(stand: BenchHarness, _options: Options, tell: Tell) -> dict[str, Any]:
    return small_runs(stand, runs=1000, nodes=10, tell=tell)


def _streaming(stand: BenchHarness, options: Options, tell: Tell) -> dict[str, Any]:
    events = 200_000 if options.full else 50_000
    return streaming(stand, runs=100, tokens=200, events=events, tell=tell)


def _memory(stand: BenchHarness, options: Options, tell: Tell) -> dict[str, Any]:
    return memory(stand, runs=10, nodes=10_000 if options.full else 1000, tell=tell)


def _growth(stand: BenchHarness, options: Options, tell: Tell) -> dict[str, Any]:
    return growth(
        stand, sizes=[10**power for power in range(2, 6 if options.full else 5)], tell=tell
    )


_MEASURES: Mapping[Section, Callable[[BenchHarness, Options, Tell], dict[str, Any]]] = {
    Section.THROUGHPUT: _throughput,
    Section.LATENCY: _latency,
    Section.SMALL_RUNS: _small_runs,
    Section.STREAMING: _streaming,
    Section.METG: _metg,
    Section.MEMORY: _memory,
    Section.GROWTH: _growth,
}


def _machine(options: Options) -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "celery": version("celery"),
        "kombu": version("kombu"),
        "pool": options.pool,
        "slots": options.slots,
        "repeat": options.repeat,
    }
