"""Measure the engine against the ceiling: independent no-op Celery tasks on the same worker.

Usage: make bench [ARGS="--dags chain1000,fan1000 --json"]

One embedded server and one worker (prefork, two children) serve everything, first with one
message per node, then with work first (a worker goes on with a node it made ready). The ceiling is
measured before and after each flow and averaged, because machines are noisy; quote the ratios.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from celery import Celery
from rich.console import Console
from rich.table import Table

from flowcore.assembly.session import Session
from flowcore.assembly.settings import Settings
from flowcore.assembly.supervisor import LocalWorkers
from flowcore.client.flow import Flow, start_run
from flowcore.plan.plan import Plan
from flowcore.stores.redis.connect import connect

USES = "bench_app:noop"
HERE = Path(__file__).resolve().parent


def _flow(name: str, needs: Iterable[tuple[str, list[str]]]) -> dict[str, Any]:
    return {"id": name, "nodes": {node: {"uses": USES, "needs": before} for node, before in needs}}


def chain(count: int) -> dict[str, Any]:
    """One node after the other."""
    return _flow(f"chain{count}", ((f"n{i}", [f"n{i - 1}"] if i else []) for i in range(count)))


def fan(count: int) -> dict[str, Any]:
    """One node, many in parallel, one that joins them."""
    middle = [f"m{i}" for i in range(count - 2)]
    return _flow(f"fan{count}", [("a", []), *((m, ["a"]) for m in middle), ("z", middle)])


def layered(layers: int, width: int) -> dict[str, Any]:
    """Each node needs all nodes of the layer before."""

    def before(layer: int) -> list[str]:
        return [f"l{layer - 1}x{i}" for i in range(width)] if layer else []

    rows = ((f"l{layer}x{i}", before(layer)) for layer in range(layers) for i in range(width))
    return _flow(f"layered{layers}x{width}", rows)


def nshape(count: int) -> dict[str, Any]:
    """A ladder of N shapes: no series-parallel nesting can say it."""
    rows: list[tuple[str, list[str]]] = [("a0", []), ("b0", [])]
    for i in range(1, count):
        rows += [(f"a{i}", [f"a{i - 1}"]), (f"b{i}", [f"a{i - 1}", f"b{i - 1}"])]
    return _flow(f"nshape{count}", rows)


def tree(leaves: int) -> dict[str, Any]:
    """A binary tree that fans out."""
    rows = [("n1", [])] + [(f"n{i}", [f"n{i // 2}"]) for i in range(2, leaves)]
    return _flow(f"tree{leaves}", rows)


DAGS: dict[str, Callable[[], dict[str, Any]]] = {
    "chain1000": lambda: chain(1000),
    "fan1000": lambda: fan(1000),
    "layered20x50": lambda: layered(20, 50),
    "nshape500": lambda: nshape(500),
    "tree1024": lambda: tree(1024),
}


class Bench:
    """One server, one worker, many measurements."""

    def __init__(self, session: Session, pool: str, slots: int, *, work_first: bool) -> None:
        """Start the worker."""
        self.session = session
        self.redis = connect(session.runtime.redis_url)
        self.app: Celery = session.runtime.app
        argv = [
            *(sys.executable, "-m", "celery", "-A", "bench_app", "worker"),
            *("--pool", pool, "--concurrency", str(slots), "--loglevel", "WARNING"),
            *("--queues", session.runtime.default_queue, "--without-gossip", "--without-mingle"),
        ]
        env = {
            **session.worker_env([HERE]),
            "FLOWCORE_WORK_FIRST": "on" if work_first else "off",
        }
        self.workers = LocalWorkers(
            argv=argv, env=env, log=session.runtime.settings.home / "bench.log", cwd=HERE
        )
        self.workers.start()
        if not self.workers.wait_ready(timeout=60):
            sys.exit(f"the worker did not start: {self.workers.failure}")

    def ceiling(self, count: int) -> float:
        """Throughput of independent no-op tasks, in tasks per second."""
        queue = self.session.runtime.default_queue
        task = self.app.signature("bench.noop")
        started = time.perf_counter()
        for _ in range(count):
            task.apply_async(queue=queue, ignore_result=True)
        while self.redis.llen(queue) or self.redis.hlen("unacked"):
            time.sleep(0.005)
        return count / (time.perf_counter() - started)

    def run(self, plan: Plan) -> dict[str, Any]:
        """One run of a flow: nodes per second, Redis commands per node."""
        before = self._commands()
        handle = start_run(self.session, plan)
        result = handle.wait(timeout=600)
        if not result.success:
            sys.exit(f"{plan.flow} ended as {result.state}: {result.error}")
        after = self._commands()
        summary = handle.summary()
        seconds = (summary.finished or 0) - summary.created
        return {
            "nodes": len(plan),
            "seconds": seconds,
            "nodes_per_s": len(plan) / seconds,
            "commands_per_node": (after - before) / len(plan),
        }

    def _commands(self) -> int:
        return int(self.redis.info("stats")["total_commands_processed"])


def message_size(session: Session, plan: Plan) -> int:
    """Bytes of the largest message a run of this plan sends, as it lies in Redis."""
    redis = connect(session.runtime.redis_url)
    handle = start_run(session, plan)
    sizes = [len(raw) for raw in redis.lrange(session.runtime.default_queue, 0, -1)]
    handle.cancel()
    redis.delete(session.runtime.default_queue)
    return max(sizes)


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dags", default=",".join(DAGS))
    parser.add_argument("--tasks", type=int, default=1000, help="no-op tasks of one ceiling")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--pool", default="prefork")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flowcore-bench-") as home:
        settings = Settings.from_env({"FLOWCORE_HOME": home})
        with Session(settings) as session:
            report = measure(session, options)
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)


def measure(session: Session, options: argparse.Namespace) -> dict[str, Any]:
    """Measure each flow between two ceilings, in both modes."""
    plans = {name: Flow.load(DAGS[name]()).plan() for name in options.dags.split(",")}
    sizes = {name: message_size(session, plan) for name, plan in plans.items()}
    ceilings: list[float] = []
    dags: dict[str, Any] = {name: {"message_bytes": sizes[name]} for name in plans}
    for mode, work_first in (("one_message_per_node", False), ("work_first", True)):
        bench = Bench(session, options.pool, options.slots, work_first=work_first)
        try:
            bench.ceiling(options.tasks)
            bench.run(next(iter(plans.values())))
            ceilings.append(bench.ceiling(options.tasks))
            for name, plan in plans.items():
                runs = [bench.run(plan) for _ in range(options.repeat)]
                ceilings.append(bench.ceiling(options.tasks))
                middle = sorted(runs, key=lambda run: run["nodes_per_s"])[len(runs) // 2]
                middle["ceiling"] = (ceilings[-1] + ceilings[-2]) / 2
                middle["ratio"] = middle["nodes_per_s"] / middle["ceiling"]
                dags[name][mode] = middle
        finally:
            bench.workers.stop()
    return {"ceiling_tasks_per_s": sum(ceilings) / len(ceilings), "dags": dags}


def show(report: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title=f"ceiling: {report['ceiling_tasks_per_s']:.0f} no-op Celery tasks/s")
    titles = ("flow", "message", "mode", "nodes/s", "x ceiling", "Redis commands/node")
    for title in titles:
        table.add_column(title, justify="left" if title in {"flow", "mode"} else "right")
    for name, row in report["dags"].items():
        for mode in ("one_message_per_node", "work_first"):
            table.add_row(
                name if mode == "one_message_per_node" else "",
                f"{row['message_bytes']} B" if mode == "one_message_per_node" else "",
                mode.replace("_", " "),
                f"{row[mode]['nodes_per_s']:.0f}",
                f"{row[mode]['ratio']:.2f}",
                f"{row[mode]['commands_per_node']:.1f}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
