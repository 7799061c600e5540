"""Measure what scripts/scale_model.py needs to know: the prices of this machine, as JSON.

Usage: nice python -m scripts.scale_measure > measured.json    (some minutes, 2 cores)

In: a Valkey server over TCP with an AOF, as in production; the benchmark's stand.
Out: microseconds of the server per script call (``cpu``: with its share of reading and writing
sockets, 50 callers at once; ``script``: what the server itself counts), milliseconds of CPU per
published message, per node what flowcore.bench reports, the traffic of an idle worker, bytes per
node. Not here: the model. The numbers are copied into scripts/scale_parameters.toml by hand,
because a table that changes with each noisy run cannot be reviewed.
"""

import json
import statistics
import sys
import tempfile
import time
from typing import Any

from flowcore.assembly.session import Session
from flowcore.assembly.settings import Settings
from flowcore.bench.dags import named
from flowcore.bench.harness import MODES, BenchHarness, Worker
from flowcore.bench.throughput import Ceilings, idle_flows
from flowcore.client.flow import start_run
from flowcore.ports.store import Dispatch
from flowcore.stores.redis.connection.connect import connect
from scripts.scale_meter import Scripts, broker_prices, flow, server, store_prices

IDLE_SECONDS = 10.0
FLOWS = ("fan1000", "chain1000", "layered20x50", "nshape500", "tree1024")
WIDE, LAYERS = 200, 100


def publish_prices(session: Session) -> dict[str, float]:
    """CPU of the process that publishes, in milliseconds per call, by messages together."""
    plan = flow("fan4002")
    found = {}
    for size in (1, 10, 1_000):
        nodes = tuple((node, 1) for node in range(1, size + 1))
        some = Dispatch(run="m", plan=plan.hash, flow="f", namespace="", priority=5, nodes=nodes)
        times = 2_000 // size
        before = time.process_time()
        for _ in range(times):
            session.runtime.dispatcher.publish(some, plan)
        found[str(size)] = round((time.process_time() - before) / times * 1e3, 4)
    connect(session.runtime.redis_url).flushall()
    return found


def memory(session: Session) -> dict[str, Any]:
    """Bytes per node of a run whose last layer runs, by key; of a waiting message."""
    it = Scripts(session)
    redis = it.meter.redis
    redis.flushall()
    plan = flow(f"layered{LAYERS}x{WIDE}")
    dispatch = it.submit(plan).dispatch
    run = dispatch.run if dispatch else ""
    for start in range(0, len(plan) - WIDE, WIDE):
        it.claim(run, range(start, start + WIDE))
        it.settle(run, range(start, start + WIDE))
    it.claim(run, range(len(plan) - WIDE, len(plan)))
    found = {
        key.decode().replace(run, "run"): round(redis.memory_usage(key, samples=0) / len(plan), 1)
        for key in redis.keys("*")
    }
    redis.flushall()
    start_run(session, flow("layered1x5000"))
    queue = session.runtime.default_queue
    found["waiting message"] = round(redis.memory_usage(queue, samples=0) / redis.llen(queue), 1)
    redis.flushall()
    return found


def round_trip(url: str) -> float:
    """Median microseconds of a PING over the loopback interface."""
    redis = connect(url)
    times = []
    for _ in range(2_000):
        started = time.perf_counter()
        redis.ping()
        times.append(time.perf_counter() - started)
    return round(statistics.median(times) * 1e6, 1)


def engine_prices() -> dict[str, Any]:
    """What whole flows cost on one worker with two children, and the worker when idle."""
    found: dict[str, Any] = {}
    for mode in MODES:
        with BenchHarness(Worker(mode=mode)) as stand:
            found[mode] = idle_flows(
                stand,
                [named(name) for name in FLOWS],
                Ceilings(stand, 1_000),
                repeat=3,
                tell=lambda line: print(line, file=sys.stderr),
            )
            found[f"idle, {mode}"] = idle(stand)
    return found


def idle(stand: BenchHarness) -> dict[str, Any]:
    """Commands and CPU of one idle worker and its server, per second."""
    stand.redis.config_resetstat()
    before = stand.cpu()
    time.sleep(IDLE_SECONDS)
    used = stand.cpu_since(before)
    calls = {
        name.removeprefix("cmdstat_"): round(value["calls"] / IDLE_SECONDS, 1)
        for name, value in stand.redis.info("commandstats").items()
    }
    return {
        "cpu_ms_per_s": {who: round(spent / IDLE_SECONDS * 1e3, 2) for who, spent in used.items()},
        "calls_per_s": {name: rate for name, rate in calls.items() if rate > 0.1},
    }


def main() -> None:
    """Measure everything and print it."""
    with server() as url, tempfile.TemporaryDirectory(prefix="flowcore-scale-") as home:
        settings = Settings.from_env({"FLOWCORE_HOME": home, "FLOWCORE_REDIS_URL": url})
        with Session(settings) as session:
            report = {
                "scripts_us": store_prices(session),
                "memory_bytes_per_node": memory(session),
                "loopback_round_trip_us": round_trip(url),
                "broker_us": broker_prices(url),
                "publish_ms": publish_prices(session),
            }
    report["engine"] = engine_prices()
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
