"""Measure a join of many large outputs: the largest message to and from the server, and memory.

Usage: PYTHONPATH=. python scripts/bench_payloads.py [WIDTH] [BYTES]

Every output once stays in the record, once goes to files, once to Redis in chunks. A meter stands
between all processes and the server, the broker's messages included; a pipeline counts as one.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.engine import Engine, running_engine
from tests.metering import metered
from tests.services import running_valkey

WIDTH, BYTES = 1000, 100_000


def peak(pid: int) -> float:
    """The most memory a process ever had, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def family(engine: Engine) -> list[int]:
    """The worker's processes, its parent first."""
    return [
        process.pid
        for pid in engine.started[0].pids
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    ]


def measure(way: str, width: int, size: int, home: Path) -> str:
    """Run one join and lay out what was measured."""
    nodes: dict[str, dict[str, object]] = {
        f"n{i}": {"uses": "engine_nodes:block", "with": {"size": size, "seed": i}}
        for i in range(width)
    }
    nodes["all"] = {"uses": "engine_nodes:hash_of_all", "needs": list(nodes)}
    places = {"record": "off", "files": (home / "payloads").as_uri(), "redis": "redis"}
    with (
        running_valkey() as url,
        metered(url) as meter,
        running_engine(
            meter.url, home, payloads=places[way], payload_threshold=str(size // 2)
        ) as engine,
    ):
        engine.workers()
        before = max(map(peak, family(engine)))
        handle = engine.start(nodes)
        meter.reset()
        started = time.monotonic()
        engine.session.runtime.events.wait(handle.id, timeout=600)
        took = time.monotonic() - started
        request, answer = meter.request, meter.answer
        peaks = sorted(map(peak, family(engine)))
        result = handle.wait(60)
        if not result.success or result.output["count"] != width:
            sys.exit(f"{way}: {result.error}")
        return (
            f"| {way} | {took:.1f} s | {request / 1e6:.2f} MB | {answer / 1e6:.2f} MB | "
            f"{before:.0f} MB | {peaks[-1]:.0f} MB |"
        )


def main() -> None:
    """Measure each way."""
    width = int(sys.argv[1]) if len(sys.argv) > 1 else WIDTH
    size = int(sys.argv[2]) if len(sys.argv) > 2 else BYTES
    print(f"{width} outputs of {size:,} bytes into one node; {os.cpu_count()} cores")
    print("| where | took | largest request | largest answer | child before | child's peak |")
    print("|---|---|---|---|---|---|")
    for way in ("record", "files", "redis"):
        with tempfile.TemporaryDirectory() as home:
            print(measure(way, width, size, Path(home)), flush=True)


if __name__ == "__main__":
    main()
