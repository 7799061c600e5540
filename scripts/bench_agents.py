"""Measure agents on workers: one hop, messages a second, and what a kill costs.

In: nothing but options. Out: lines with figures. Uses a server and workers of its own.

    python scripts/bench_agents.py [--calls 2000] [--at-once 64] [--kills 30]
"""

import argparse
import asyncio
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from flowcore import AgentContext, agent  # noqa: E402
from flowcore.client.agents import AgentClient  # noqa: E402
from tests.engine import Engine, running_engine  # noqa: E402
from tests.services import running_valkey  # noqa: E402

__all__ = ["asks", "echo", "naps"]


@agent("bench-echo", max_concurrency=256)
async def echo(text: str) -> str:
    """Answer."""
    return text


@agent("bench-asks")
async def asks(data: dict[str, int], ctx: AgentContext) -> dict[str, float]:
    """Exchange messages with another agent."""
    started = time.monotonic()
    gate = asyncio.Semaphore(data["at_once"])

    async def one(number: int) -> None:
        async with gate:
            await ctx.call("bench-echo", str(number))

    await asyncio.gather(*map(one, range(data["calls"])))
    return {"seconds": time.monotonic() - started}


def _note(path: Path, line: str) -> int:
    with path.open("a") as log:
        log.write(line)
    return len(path.read_text().splitlines())


@agent("bench-naps")
async def naps(data: dict[str, Any]) -> float:
    """Sleep in the first attempt only; say when it began."""
    if _note(Path(data["path"]), f"{os.getpid()} {time.time()}\n") == 1:
        await asyncio.sleep(600)
    return time.time()


def _celery_trip(engine: Engine) -> float:
    """Seconds of a bare Celery task there and back, the middle of many."""
    task = engine.session.runtime.app.signature("bench.nothing", ignore_result=False)
    took = []
    for _ in range(300):
        started = time.perf_counter()
        task.apply_async().get(timeout=10, interval=0.001)
        took.append(time.perf_counter() - started)
    return statistics.median(took[50:])


def _hop(client: AgentClient) -> float:
    """Seconds of one message to an agent and its answer, the middle of many."""
    took = []
    for _ in range(300):
        started = time.perf_counter()
        client.send("bench-echo", "x")
        took.append(time.perf_counter() - started)
    return statistics.median(took[50:])


def _kill(client: AgentClient, path: Path) -> float:
    """Seconds from kill -9 of the agent's worker to the task's next beginning."""
    task = client.start("bench-naps", {"path": str(path)})
    while not (path.exists() and path.read_text()):
        time.sleep(0.005)
    os.kill(int(path.read_text().split()[0]), signal.SIGKILL)
    killed = time.time()
    return float(client.wait(task).data) - killed


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser()
    options.add_argument("--calls", type=int, default=2000)
    options.add_argument("--at-once", type=int, default=64)
    options.add_argument("--kills", type=int, default=30)
    given = options.parse_args()
    home = Path(tempfile.mkdtemp(prefix="flowcore-bench-"))
    os.environ["PYTHONPATH"] = str(ROOT / "scripts")
    with running_valkey() as url:
        with running_engine(url, home / "a", agents="bench_agents") as engine:
            engine.workers(pool="prefork", slots=1, include="bench_nothing")
            client = AgentClient(engine.session)
            trip, hop = _celery_trip(engine), _hop(client)
            print(f"bare Celery round trip {trip * 1e3:.2f} ms, one hop {hop * 1e3:.2f} ms")
            print(f"ratio {hop / trip:.2f}")
        with running_engine(url, home / "b", agents="bench_only_echo") as there:
            there.workers(pool="solo", slots=1)
            with running_engine(url, home / "c", agents="bench_only_asks") as here:
                here.workers(pool="solo", slots=1)
                work = {"calls": given.calls, "at_once": given.at_once}
                found = AgentClient(here.session).send("bench-asks", work, timeout=120)
                rate = 2 * given.calls / found.data["seconds"]
                print(f"{rate:.0f} messages/s between two processes, {given.at_once} at once")
        with running_engine(url, home / "d", agents="bench_agents") as engine:
            engine.workers(pool="solo", slots=1)
            engine.workers(pool="solo", slots=1)
            client = AgentClient(engine.session)
            took = sorted(_kill(client, home / f"kill{n}") for n in range(given.kills))
            middle, last = statistics.median(took), took[int(0.99 * len(took))]
            print(f"{len(took)} kills: takeover p50 {middle:.2f} s, p99 {last:.2f} s")


if __name__ == "__main__":
    main()
