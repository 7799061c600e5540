"""Measure what scripts/scale_model.py needs to know: the prices of this machine, as JSON.

Usage: nice python -m scripts.scale_measure > measured.json    (about two minutes, 2 cores)

In: a Valkey server over TCP with an AOF, as in production, and real Celery workers.
Out: microseconds of the server per script call (``cpu``: with its share of reading and writing
sockets, 50 callers at once; ``script``: what the server itself counts), milliseconds of CPU per
node in the worker's parent, its children and the server, the traffic of an idle worker, bytes per
node. Not here: the model. The numbers are copied into scripts/scale_parameters.toml by hand,
because a table that changes with each noisy run cannot be reviewed.
"""

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import psutil
from scripts.bench import HERE, Bench, chain, fan, layered, nshape, tree

from flowcore.assembly.session import Session
from flowcore.assembly.settings import Settings
from flowcore.client.flow import Flow, start_run
from flowcore.engine.complete import complete
from flowcore.engine.execute import Executor
from flowcore.engine.leases import LeaseKeeper
from flowcore.ports.store import Dispatch, NewRun, Outcome, Ticket
from flowcore.stores.inmemory import InMemoryStore
from flowcore.stores.redis.connect import connect
from scripts.scale_meter import Meter, Scripts, broker_prices, server, store_prices

IDLE_SECONDS = 10.0


def caller_prices(session: Session) -> dict[str, float]:
    """CPU of the calling process, in milliseconds: a script call, a published message."""
    it = Scripts(session)
    plan = Flow.load(fan(4_002)).plan()
    run = it.submit(plan)
    (root,) = _tickets(run, [0])
    it.store.claim(root, worker="w")
    dispatch = it.store.settle(root, Outcome(kind="succeeded", output=b"\xc0")).dispatch
    if dispatch is None:
        sys.exit("nothing became ready")
    before = time.process_time()
    for ticket in _tickets(run, range(1, 3_001)):
        it.store.claim(ticket, worker="w")
    found = {"script call": (time.process_time() - before) / 3_000 * 1e3}
    for size in (1, 10, 1_000):
        nodes = dispatch.nodes[:size]
        some = Dispatch(run=run, plan=plan.hash, flow="f", namespace="", priority=5, nodes=nodes)
        times = 2_000 // size
        before = time.process_time()
        for _ in range(times):
            session.runtime.dispatcher.publish(some, plan)
        found[f"publish, {size} together"] = (time.process_time() - before) / times * 1e3
    it.meter.redis.flushall()
    return {name: round(value, 4) for name, value in found.items()}


def copies(url: str) -> dict[str, float]:
    """Messages per node when a queue takes far longer to drain than a dispatch lease lasts."""
    with tempfile.TemporaryDirectory(prefix="flowcore-scale-") as home:
        given = {"FLOWCORE_DISPATCH_LEASE": "0.05", "FLOWCORE_WORK_FIRST": "off"}
        base = {"FLOWCORE_HOME": home, "FLOWCORE_REDIS_URL": url, **given}
        with Session(Settings.from_env(base)) as session:
            bench = Bench(session, "prefork", 2, work_first=False)
            meter = Meter(url)
            try:
                meter.redis.config_resetstat()
                result = bench.run(Flow.load(fan(2_000)).plan())
            finally:
                bench.workers.stop()
            pushed = meter.redis.info("commandstats")["cmdstat_lpush"]["calls"]
    return {
        "messages_per_node": round(pushed / 2_000, 2),
        "leases_to_drain": round(result["seconds"] / 0.05),
        "nodes_per_s": round(result["nodes_per_s"], 1),
    }


def memory(session: Session) -> dict[str, Any]:
    """Bytes per node of a run that has ended, by key; of its web; of a waiting message."""
    it = Scripts(session)
    redis = it.meter.redis
    redis.flushall()
    flow = layered(100, 200)
    for node, spec in flow["nodes"].items():
        layer = int(node[1:].split("x")[0])
        spec["needs"] = spec["needs"][:3] if layer else []
    plan = Flow.load(flow).plan()
    it = Scripts(session)
    run = it.submit(plan)
    size = len(plan)
    peak = {}
    for layer in range(100):
        nodes = range(layer * 200, layer * 200 + 200)
        it.claim(run, nodes)
        if layer == 99:
            peak = {key.decode(): redis.memory_usage(key, samples=0) for key in redis.keys("*")}
        it.settle(run, nodes)
    found = {key.replace(run, "run"): round(value / size, 1) for key, value in peak.items()}
    found["plan, compressed"] = round(redis.strlen(f"fc:plan:{plan.hash}") / size, 1)
    fanned = Flow.load(fan(5_002)).plan()
    handle = start_run(session, fanned)
    store, before = session.runtime.store, redis.info("memory")["used_memory"]
    ticket = next(iter(_tickets(handle.id, [0])))
    store.claim(ticket, worker="w")
    complete(
        store,
        session.runtime.dispatcher,
        ticket,
        Outcome(kind="succeeded", output=b"\xc0"),
        plan=fanned,
    )
    after = redis.info("memory")["used_memory"]
    queue = session.runtime.default_queue
    found["waiting message and agenda"] = round((after - before) / 5_000, 1)
    found["waiting message"] = round(redis.memory_usage(queue, samples=0) / redis.llen(queue), 1)
    redis.flushall()
    return found


def _tickets(run: str, nodes: Iterable[int]) -> Iterator[Ticket]:
    return (Ticket(run=run, node=node, attempt=1) for node in nodes)


def round_trip(url: str) -> float:
    """Median microseconds of a PING over the loopback interface."""
    redis = connect(url)
    times = []
    for _ in range(2_000):
        started = time.perf_counter()
        redis.ping()
        times.append(time.perf_counter() - started)
    return round(statistics.median(times) * 1e6, 1)


def in_process() -> float:
    """Milliseconds of CPU to claim, run and settle a no-op without a server: a unit's own share."""
    plan = Flow.load(chain(5_000)).plan()
    store = InMemoryStore(clock=time.time)
    store.put_plan(plan)
    store.submit(NewRun(id="r", plan=plan.hash, input=b"\x80"), plan)
    keeper = LeaseKeeper(store, interval=1.5)
    executor = Executor(store=store, reader=store, events=store, keeper=keeper, max_output=2**20)
    started = time.process_time()
    for ticket in _tickets("r", range(len(plan))):
        attempt = executor.run(ticket, plan, worker="w")
        if attempt is None:
            sys.exit("the chain broke")
        if attempt.error is not None:
            raise attempt.error
        store.settle(ticket, attempt.outcome)
    return round((time.process_time() - started) / len(plan) * 1e3, 4)


def engine_prices(session: Session) -> dict[str, Any]:
    """CPU per node by process, and throughput, of whole flows on one worker with two children."""
    flows = {
        "fan1000": fan(1000),
        "chain1000": chain(1000),
        "layered20x50": layered(20, 50),
        "nshape500": nshape(500),
        "tree1024": tree(1024),
    }
    plans = {name: Flow.load(flow).plan() for name, flow in flows.items()}
    found: dict[str, Any] = {}
    for mode, work_first in (("one message per node", False), ("work first", True)):
        bench = Bench(session, "prefork", 2, work_first=work_first)
        meter = Meter(session.runtime.redis_url)
        try:
            bench.ceiling(1_000)
            bench.run(plans["fan1000"])
            found[f"idle worker, {mode}"] = idle(meter, bench)
            ceiling = spent(meter, bench, 2_000, lambda b=bench: {"nodes_per_s": b.ceiling(2_000)})
            found[f"ceiling, {mode}"] = ceiling
            for name, plan in plans.items():
                runs = [
                    spent(meter, bench, len(plan), lambda b=bench, p=plan: b.run(p))
                    for _ in range(5)
                ]
                runs.sort(key=lambda each: each["nodes_per_s"])
                found[f"{name}, {mode}"] = runs[2]
        finally:
            bench.workers.stop()
    return found


def spent(meter: Meter, bench: Bench, nodes: int, call: Callable[[], Any]) -> dict[str, float]:
    """CPU of each process during a call, in milliseconds per node."""
    parent = psutil.Process(bench.workers.pids[0])
    children = parent.children(recursive=True)

    def clocks() -> list[float]:
        own = psutil.Process()
        sums = [sum(p.cpu_times()[:2]) for p in (parent, own)]
        return [*sums, sum(sum(p.cpu_times()[:2]) for p in children), meter.cpu()]

    before = clocks()
    result = call()
    after = clocks()
    names = ("parent", "client", "children", "server")
    cpu = {
        name: round((b - a) / nodes * 1e3, 3)
        for name, a, b in zip(names, before, after, strict=True)
    }
    return {"nodes_per_s": round(result["nodes_per_s"], 1), **cpu}


def idle(meter: Meter, bench: Bench) -> dict[str, Any]:
    """Commands and server CPU of one idle worker, per second."""
    meter.redis.config_resetstat()
    cpu = meter.cpu()
    result = spent(meter, bench, 1, lambda: time.sleep(IDLE_SECONDS) or {"nodes_per_s": 0.0})
    cpu = meter.cpu() - cpu
    stats = meter.redis.info("commandstats")
    return {
        "parent_ms_per_s": round(result["parent"] / IDLE_SECONDS, 2),
        "server_ms_per_s": round(cpu / IDLE_SECONDS * 1e3, 3),
        "calls_per_s": {
            name.removeprefix("cmdstat_"): round(value["calls"] / IDLE_SECONDS, 1)
            for name, value in stats.items()
            if value["calls"] / IDLE_SECONDS > 0.15
        },
    }


def main() -> None:
    """Measure everything and print it."""
    sys.path.append(str(HERE))  # the bench's nodes are named as its worker finds them
    with server() as url, tempfile.TemporaryDirectory(prefix="flowcore-scale-") as home:
        settings = Settings.from_env({"FLOWCORE_HOME": home, "FLOWCORE_REDIS_URL": url})
        with Session(settings) as session:
            report = {
                "scripts_us": store_prices(session),
                "memory_bytes_per_node": memory(session),
                "loopback_round_trip_us": round_trip(url),
                "broker_us": broker_prices(url),
                "caller_ms": caller_prices(session),
                "in_process_ms": in_process(),
                "engine_ms": engine_prices(session),
            }
            report["long queue"] = copies(url)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
