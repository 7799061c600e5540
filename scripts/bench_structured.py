"""Maps and loops against static graphs of the same size, in one run: prints ratios.

    python -m scripts.bench_structured --rounds 5

A map of N items against N nodes beside each other, a loop of N iterations against a chain of N
nodes that hand on what they gave by expression, as a loop does, and against one of nodes without
arguments. They do next to nothing: what is measured is the engine. Each figure is the middle one of
the rounds, which take turns; ``nodes/s`` counts from the first node's start to the run's end, the
start and the end of the map or loop itself included.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flowcore import Flow, Session
from flowcore.assembly.settings import Settings

NODES = """
def noop(): pass
def give(n): return list(range(n))
def step(state): return state + 1
"""


def flows(items: int, iterations: int) -> Mapping[str, tuple[int, dict[str, Any]]]:
    """What is measured: nodes, and the definition."""
    bare: dict[str, Any] = {"n0": {"uses": "bench_nodes:noop"}}
    chain: dict[str, Any] = {"n0": {"uses": "bench_nodes:step", "with": {"state": 0}}}
    for at in range(1, iterations):
        before = f"n{at - 1}"
        given = {"state": f"${{{{ {before}.output }}}}"}
        bare[f"n{at}"] = {"uses": "bench_nodes:noop", "needs": [before]}
        chain[f"n{at}"] = {"uses": "bench_nodes:step", "needs": [before], "with": given}
    mapped = {
        "list": {"uses": "bench_nodes:give", "with": {"n": items}},
        "each": {"uses": "bench_nodes:noop", "needs": ["list"], "for_each": "${{ list.output }}"},
    }
    counted = {"uses": "bench_nodes:step", "initial": 0, "max_iterations": iterations}
    until = {**counted, "until": f"output >= {iterations}", "max_iterations": 2 * iterations}
    return {
        "static fan": (items, {f"n{at}": {"uses": "bench_nodes:noop"} for at in range(items)}),
        "map": (items, mapped),
        "bare chain": (iterations, bare),
        "static chain": (iterations, chain),
        "loop": (iterations, {"loop": counted}),
        "loop until": (iterations, {"loop": until}),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "bench_nodes.py").write_text(NODES)
        environ = {"FLOWCORE_HOME": home, "PYTHONPATH": home}
        os.environ.update(environ)
        settings = Settings.from_env({"FLOWCORE_HOME": home})
        with Session(settings, environ=environ) as session:
            session.ensure_workers([None], paths=[Path(home)])
            report(session, given.items, given.iterations, given.rounds)


def report(session: Session, items: int, iterations: int, rounds: int) -> None:
    """Run every flow in turns, and print nodes per second and ratios."""
    measured: dict[str, list[float]] = {}
    plans = flows(items, iterations)
    for number in range(rounds + 1):
        for name, (count, nodes) in plans.items():
            flow = Flow.load({"id": name.replace(" ", "-"), "nodes": nodes})
            result = flow.run(session=session)
            if not result.success:
                raise SystemExit(f"{name}: {result.error}")
            if number:  # the first one imports the modules and compiles the plans
                measured.setdefault(name, []).append(count / result.duration)
    middle = {name: statistics.median(rates) for name, rates in measured.items()}
    for name, rate in middle.items():
        bases = ["static fan"] if name == "map" else ["static chain", "bare chain"]
        told = [f"{rate / middle[base]:.2f} of the {base}" for base in bases]
        shown = ", ".join(told) if name.startswith(("map", "loop")) else ""
        print(f"{name:14} {rate:10,.0f} nodes/s  {shown}")


if __name__ == "__main__":
    main()
