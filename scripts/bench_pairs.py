"""Two checkouts compared in interleaved pairs: ``python -m scripts.bench_pairs --before DIR``.

In: two checkouts, each with its environment. Out: for each flow and mode the ratios after / before
of processor time, Redis commands, bytes and wall time per node, with their intervals. Not here: how
a run is measured (flowcore.bench).

A machine's speed drifts by a third within minutes, so neither is measured in one go: the order is
before, after, after, before, and each pair gives one ratio.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["main"]

_FIGURES = {
    "cpu_s_per_node": "CPU",
    "redis_commands_per_node": "commands",
    "redis_bytes_per_node": "bytes",
    "nodes_per_s": "wall time",
}
#: Student's t for 95 %, two-sided, by degrees of freedom.
_T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 19: 2.09}

#: Figures by flow, as ``flowcore bench`` reports them.
Flows = Mapping[str, Mapping[str, Any]]
Key = tuple[str, str, str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 if every figure but wall time is within the bound."""
    options = _parser().parse_args(arguments)
    ratios: dict[Key, list[float]] = defaultdict(list)
    for number in range(options.pairs):
        order = ("before", "after") if number % 2 == 0 else ("after", "before")
        for mode, flows in (("grain", options.grain), ("one-message", options.one_message)):
            if not flows:
                continue
            dags = {
                side: _bench(getattr(options, side), mode, flows, options.repeat) for side in order
            }
            for (flow, figure), value in _ratios(dags["before"], dags["after"]):
                ratios[mode, flow, figure].append(value)
        print(f"pair {number + 1} of {options.pairs}", file=sys.stderr, flush=True)
    return _show(ratios, options.bound)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="The checkout of before.")
    parser.add_argument("--after", type=Path, default=Path(), help="The other; default: this one.")
    parser.add_argument("--pairs", type=int, default=10)
    # Processor time comes in hundredths of a second: a flow has to take many of them.
    parser.add_argument("--grain", default="chain10000,fan10000,layered100x100", metavar="DAGS")
    parser.add_argument("--one-message", default="chain1000,fan1000", metavar="DAGS")
    parser.add_argument("--repeat", type=int, default=3, help="Runs of each flow in one report.")
    parser.add_argument("--bound", type=float, default=0.03, help="What counts as the same.")
    return parser


def _bench(checkout: Path, mode: str, flows: str, repeat: int) -> Flows:
    argv = [str((checkout / ".venv/bin/flowcore").absolute()), "bench", "-o", "json", "-q"]
    argv += ["--dags", flows, "--modes", mode, "--only", "throughput"]
    argv += ["--nodes", "noop", "--repeat", str(repeat), "--tasks", "300"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(argv, cwd=checkout, env=environment, stdout=subprocess.PIPE, check=True)
    dags: Flows = json.loads(done.stdout)["dags"]
    return dags


def _ratios(before: Flows, after: Flows) -> Iterator[tuple[tuple[str, str], float]]:
    for flow, figures in before.items():
        for figure in _FIGURES:
            old, new = figures[figure], after[flow][figure]
            if old and new:
                # Nodes per second are turned round: more of each figure is worse.
                yield (flow, figure), old / new if figure == "nodes_per_s" else new / old


def _show(ratios: Mapping[Key, Sequence[float]], bound: float) -> int:
    print(f"{'mode':12} {'flow':14} {'figure':10} {'after / before':>14}   95 % interval")
    worst = 0.0
    for (mode, flow, figure), values in ratios.items():
        logs = [math.log(value) for value in values]
        middle = statistics.fmean(logs)
        half = _half_interval(logs)
        low, high = math.exp(middle - half), math.exp(middle + half)
        name = _FIGURES[figure]
        print(f"{mode:12} {flow:14} {name:10} {math.exp(middle):14.3f}   {low:.3f} to {high:.3f}")
        if figure != "nodes_per_s":
            worst = max(worst, math.exp(middle) - 1)
    print(f"worst of CPU, commands and bytes: {worst:+.1%} (bound {bound:.0%})")
    return 0 if worst <= bound else 1


def _half_interval(logs: Sequence[float]) -> float:
    if len(logs) < 2:
        return math.inf
    free = len(logs) - 1
    t = _T.get(free, 2.0 if free > 9 else 2.3)
    return t * statistics.stdev(logs) / math.sqrt(len(logs))


if __name__ == "__main__":
    sys.exit(main())
