"""What measuring a Redis server takes, and the server's time for each script of the store.

In: a Valkey server over TCP with an AOF, as in production. Out: microseconds of the server per
call, 50 callers at once. Not here: workers, memory (scale_measure).
"""

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import msgpack
from scripts.bench import fan, layered

from flowcore.assembly.session import Session
from flowcore.assembly.valkey_process import find_binary
from flowcore.client.flow import Flow
from flowcore.plan.plan import Plan
from flowcore.ports.store import NewRun
from flowcore.stores.redis.connect import connect
from flowcore.stores.redis.store import script_source

__all__ = ["Meter", "Scripts", "broker_prices", "server", "store_prices"]

CALLERS = 50

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


def fan_outs(it: Scripts) -> dict[str, Any]:
    """How long one settle blocks the server when very many nodes become ready."""
    found = {}
    for size in (1_000, 10_000, 90_000):
        run = it.submit(Flow.load(fan(size + 2)).plan())
        it.claim(run, [0])
        found[str(size)] = it.settle(run, [0])["script"]
    return found
