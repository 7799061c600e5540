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
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import msgpack
import psutil

from flowcore.assembly.session import Session
from flowcore.assembly.settings import Settings
from flowcore.assembly.valkey_process import find_binary
from flowcore.client.flow import Flow, start_run
from flowcore.engine.complete import complete
from flowcore.engine.execute import Executor
from flowcore.engine.leases import LeaseKeeper
from flowcore.plan.plan import Plan
from flowcore.ports.store import Dispatch, NewRun, Outcome, Ticket
from flowcore.stores.inmemory import InMemoryStore
from flowcore.stores.redis.connect import connect
from flowcore.stores.redis.store import script_source
from scripts.bench import Bench, chain, fan, layered, nshape, tree

CALLERS = 50
IDLE_SECONDS = 10.0

#: What one settle of a whole batch has to do at the least, per node: output, letter, agenda, two
#: events; once per batch: read the run, count joins with one BITFIELD. It stands in for a script
#: that settles many nodes at once.
BATCH = """
local base, n, at = 'fc:{batch}:', tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('TIME')
redis.call('HMGET', base .. 'run', 'state', 'plan', 'active', 'max', 'left')
local outs, gone, bits = {}, {}, {}
for k = 0, n - 1 do
  local node = at + k
  outs[#outs + 1] = node
  outs[#outs + 1] = ARGV[3]
  gone[#gone + 1] = 'run|' .. node
  bits[#bits + 1] = 'INCRBY'
  bits[#bits + 1] = 'i64'
  bits[#bits + 1] = '#' .. node
  bits[#bits + 1] = 131072
  if redis.call('GETRANGE', base .. 'st', node, node) == 'x' then return end
  redis.call('SETRANGE', base .. 'st', node, 's')
  if ARGV[4] == 'each' or k == 0 then
    local ev = base .. 'ev'
    redis.call('XADD', ev, '0-*', 't', 'node.started', 'n', node, 'a', 1, 'ts', 1, 'd', '')
    redis.call('XADD', ev, '0-*', 't', 'node.succeeded', 'n', node, 'a', 1, 'ts', 1, 'd', '')
  end
end
redis.call('HSET', base .. 'out', unpack(outs))
redis.call('ZREM', 'fc:batch-agenda', unpack(gone))
redis.call('BITFIELD', base .. 'join', unpack(bits))
redis.call('HSET', base .. 'run', 'state', 'running', 'active', 1, 'left', 1)
return 1
"""


@contextmanager
def server() -> Iterator[str]:
    """A server on TCP with an AOF, which is what its clients will meet."""
    with tempfile.TemporaryDirectory(prefix="fc-") as home, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
        probe.close()
        options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
        process = subprocess.Popen(
            [str(find_binary()), *options, "--dir", home], stdout=subprocess.DEVNULL
        )
        try:
            time.sleep(1.0)
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


class Meter:
    """Reads what the server has spent."""

    def __init__(self, url: str) -> None:
        """Connect."""
        self.redis: Any = connect(url)
        self._pool = self.redis.connection_pool

    def cpu(self) -> float:
        """Seconds of CPU of the server's process."""
        info = self.redis.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def calls(self, commands: Iterable[Sequence[Any]]) -> dict[str, float]:
        """Send commands over 50 connections at once; microseconds of the server per command."""
        pool = self._pool
        lines = [pool.connection_class(**pool.connection_kwargs) for _ in range(CALLERS)]
        for line in lines:
            line.connect()
        self.redis.config_resetstat()
        count, before = 0, self.cpu()
        commands = iter(commands)
        while batch := list(islice(commands, CALLERS)):
            for line, command in zip(lines, batch, strict=False):
                line.send_command(*command)
            for line, _ in zip(lines, batch, strict=False):
                line.read_response()
            count += len(batch)
        spent = self.cpu() - before
        stats = self.redis.info("commandstats").get("cmdstat_evalsha", {})
        for line in lines:
            line.disconnect()
        return {
            "calls": count,
            "cpu": round(spent / count * 1e6, 1),
            "script": round(float(stats.get("usec_per_call", 0.0)), 1),
        }


class Scripts:
    """The store's own scripts, called as ``RedisStore`` calls them."""

    def __init__(self, session: Session) -> None:
        """Load them."""
        self.session, self.store = session, session.runtime.store
        self.meter = Meter(session.runtime.redis_url)
        web = script_source("web")
        self.sha = {
            name: self.meter.redis.script_load(web + script_source(name))
            for name in ("claim", "settle", "renew", "sweep")
        }
        self.runs = 0

    def submit(self, plan: Plan) -> str:
        """Create a run; nobody is rung for."""
        self.runs += 1
        run = f"m{self.runs}"
        self.store.put_plan(plan)
        self.store.submit(NewRun(id=run, plan=plan.hash, input=b"\x80"), plan)
        return run

    def command(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        """One EVALSHA."""
        return ("EVALSHA", self.sha[name], 0, *arguments)

    def claim(self, run: str, nodes: Iterable[int]) -> dict[str, float]:
        """Claim nodes."""
        who = msgpack.packb({"worker": "celery@somewhere"})
        return self.meter.calls(self.command("claim", run, node, 1, who) for node in nodes)

    def settle(self, run: str, nodes: Iterable[int]) -> dict[str, float]:
        """Settle nodes."""
        tail = ("succeeded", b"\xc0", b"", 0, b"", 3)
        return self.meter.calls(self.command("settle", run, node, 1, *tail) for node in nodes)

    def sweep(self, times: int) -> dict[str, float]:
        """Look at the agenda."""
        lost = msgpack.packb({"type": "x"})
        return self.meter.calls(
            self.command("sweep", 200, 3, lost, lost, lost) for _ in range(times)
        )


def store_prices(session: Session) -> dict[str, Any]:
    """Server time of each script."""
    it = Scripts(session)
    found: dict[str, Any] = {"sweep, nothing due": it.sweep(10_000)}
    plan = Flow.load(fan(5_002)).plan()
    run = it.submit(plan)
    it.claim(run, [0])
    found["settle, 5000 become ready"] = it.settle(run, [0])
    found["claim"] = it.claim(run, range(1, 5_001))
    for held in (1, 2, 16):
        tickets = [
            [part for node in range(at, at + held) for part in (run, node, 1)]
            for at in range(1, 4_000, held)
        ]
        found[f"renew, {held} held"] = it.meter.calls(it.command("renew", *t) for t in tickets)
    found["settle, 1 join"] = it.settle(run, range(1, 5_001))
    plan = Flow.load(layered(20, 50)).plan()
    run = it.submit(plan)
    first, second = range(50), range(50, 100)
    it.claim(run, first)
    found["settle, 50 joins"] = it.settle(run, first)
    it.claim(run, second)
    found["settle, 50 joins, again"] = it.settle(run, second)
    found["sweep, 200 late"] = late_sweep(it)
    found["note on the board"] = it.meter.calls(
        ("HSET", "fc:workers", f"w{n % 500}", b"x" * 120) for n in range(5_000)
    )
    found["ping"] = it.meter.calls(("PING",) for _ in range(10_000))
    found["batch"] = batch_prices(it)
    found["one script, ready nodes"] = fan_outs(it)
    return found


def late_sweep(it: Scripts) -> dict[str, float]:
    """A sweep that finds 200 dispatched nodes nobody has claimed."""
    redis = it.meter.redis
    plan = Flow.load(fan(20_002)).plan()
    run = it.submit(plan)
    it.claim(run, [0])
    it.settle(run, [0])
    members = redis.zrange("fc:agenda", 0, -1)
    redis.zadd("fc:agenda", dict.fromkeys(members, 1.0))
    redis.config_resetstat()
    before = it.meter.cpu()
    rounds = 0
    while it.store.sweep(limit=200).overdue:
        rounds += 1
    spent = it.meter.cpu() - before
    stats = redis.info("commandstats")["cmdstat_evalsha"]
    redis.delete("fc:agenda")
    return {
        "calls": rounds,
        "cpu": round(spent / rounds * 1e6, 1),
        "script": stats["usec_per_call"],
    }


def batch_prices(it: Scripts) -> dict[str, Any]:
    """The stand-in for a script that settles many nodes, by the size of the batch."""
    redis = it.meter.redis
    sha = redis.script_load(BATCH)
    found = {}
    for events in ("each", "batch"):
        for size in (1, 10, 100, 300):
            redis.delete(*[f"fc:{{batch}}:{part}" for part in ("run", "st", "out", "ev", "join")])
            calls = 30_000 // max(size, 10)
            found[f"{size}, events for {events}"] = it.meter.calls(
                ("EVALSHA", sha, 0, size, at * size, b"\xc0", events) for at in range(calls)
            )
    return found


def broker_prices(url: str) -> dict[str, Any]:
    """Server time of what kombu does with one message of 1 kB."""
    meter = Meter(url)
    body, many = b"x" * 1030, 10_000
    found = {
        "push": meter.calls(("LPUSH", "queue", body) for _ in range(many)),
        "pop": meter.calls(("BRPOP", "queue", 1) for _ in range(many)),
        "publish an event": meter.calls(("PUBLISH", "events", body) for _ in range(many)),
    }
    record = meter.redis.register_script(
        "redis.call('ZADD', 'u:index', 1, ARGV[1]); redis.call('HSET', 'u', ARGV[1], ARGV[2])"
    )
    forget = meter.redis.register_script(
        "redis.call('ZREM', 'u:index', ARGV[1]); redis.call('HDEL', 'u', ARGV[1])"
    )
    for name, script, *more in (("record unacked", record, body), ("acknowledge", forget)):
        sha = meter.redis.script_load(script.script)
        found[name] = meter.calls(("EVALSHA", sha, 0, f"tag{n}", *more) for n in range(many))
    meter.redis.flushall()
    return found


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
                result = bench.run(Flow.load(fan(8_000)).plan())
            finally:
                bench.workers.stop()
            pushed = meter.redis.info("commandstats")["cmdstat_lpush"]["calls"]
    return {
        "messages_per_node": round(pushed / 8_000, 2),
        "leases_to_drain": round(result["seconds"] / 0.05),
        "nodes_per_s": round(result["nodes_per_s"], 1),
    }


def fan_outs(it: Scripts) -> dict[str, Any]:
    """How long one settle blocks the server when very many nodes become ready."""
    found = {}
    for size in (1_000, 10_000, 90_000):
        run = it.submit(Flow.load(fan(size + 2)).plan())
        it.claim(run, [0])
        found[str(size)] = it.settle(run, [0])["script"]
    return found


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
