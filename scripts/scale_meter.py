"""What measuring a Redis server takes, and the server's time for each script of the store.

In: a Valkey server over TCP with an AOF, as in production. Out: microseconds of the server per
call, 50 callers at once. Not here: workers, memory (scale_measure).
"""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from flowcore.assembly.session import Session
from flowcore.assembly.valkey_process import find_binary
from flowcore.bench.dags import Work, named
from flowcore.bench.harness import compiled
from flowcore.plan.plan import Plan
from flowcore.ports.store import AttemptRef, NewRun, Outcome, SubmitResult
from flowcore.ports.unit import BatchSize, CompletedNode, Granularity, UnitProgress, UnitRef
from flowcore.stores.redis.connection.connect import connect
from flowcore.stores.redis.connection.script import script_source
from flowcore.stores.redis.runs.leases import Leases
from flowcore.stores.redis.runs.store import RedisStore

__all__ = ["OUTPUT", "Meter", "Scripts", "broker_prices", "flow", "server", "store_prices"]

CALLERS = 50

#: msgpack of None.
OUTPUT = b"\xc0"

#: Nodes that one flush records.
SIZES = (2, 10, 100, 500)


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


class _Written(RedisStore):
    """Writes down what it would send, and sends nothing."""

    def __init__(self, meter: Meter) -> None:
        super().__init__(meter.redis, leases=Leases())
        self._meter = meter
        self._shas: dict[str, str] = {}
        self.command: tuple[Any, ...] = ()

    def _call(self, name: str, *arguments: Any) -> Any:
        if name not in self._shas:
            self._shas[name] = self._meter.redis.script_load(script_source(name))
        self.command = ("EVALSHA", self._shas[name], 0, *arguments)
        answers: dict[str, Any] = {"sweep": ((), -1), "renew": [0] * (len(arguments) // 3)}
        return answers.get(name)


class Scripts:
    """The store's own scripts, called as ``RedisStore`` calls them, by 50 callers at once."""

    def __init__(self, session: Session) -> None:
        """Take the session's server."""
        self.store = session.runtime.store
        self.meter = Meter(session.runtime.redis_url)
        self._written = _Written(self.meter)
        self._runs = 0

    def submit(self, plan: Plan, *, grain: Granularity | None = None) -> SubmitResult:
        """Create a run; nobody is rung for."""
        self._runs += 1
        self.store.put_plan(plan)
        new = NewRun(id=f"m{self._runs}", plan=plan.hash, input=b"\x80")
        return self.store.submit(new, plan, grain=grain)

    def calls(self, writes: Iterable[Callable[[RedisStore], object]]) -> dict[str, float]:
        """Make these calls; microseconds of the server for each."""
        return self.meter.calls(self._command(write) for write in writes)

    def _command(self, write: Callable[[RedisStore], object]) -> tuple[Any, ...]:
        write(self._written)
        return self._written.command

    def claim(self, run: str, nodes: Iterable[int]) -> dict[str, float]:
        """Claim nodes."""
        return self.calls(
            lambda store, t=ticket: store.claim(t, worker="celery@somewhere")
            for ticket in _tickets(run, nodes)
        )

    def settle(
        self, run: str, nodes: Iterable[int], *, grain: Granularity | None = None
    ) -> dict[str, float]:
        """Settle nodes."""
        ended = Outcome(kind="succeeded", output=OUTPUT)
        return self.calls(
            lambda store, t=ticket: store.settle(t, ended, grain=grain)
            for ticket in _tickets(run, nodes)
        )


def flow(name: str) -> Plan:
    """Compile one of the benchmark's flows."""
    return compiled(named(name), Work())


def _tickets(run: str, nodes: Iterable[int]) -> Iterator[AttemptRef]:
    return (AttemptRef(run=run, node=node, attempt=1) for node in nodes)


def store_prices(session: Session) -> dict[str, Any]:
    """Server time of each script."""
    it = Scripts(session)
    found: dict[str, Any] = {
        "sweep, nothing due": it.calls(lambda store: store.sweep() for _ in range(10_000))
    }
    run = _run(it.submit(flow("fan5002")))
    it.claim(run, [0])
    found["settle, 5000 become ready"] = it.settle(run, [0])
    found["claim"] = it.claim(run, range(1, 5_001))
    for held in (1, 2, 16):
        leases = [list(_tickets(run, range(at, at + held))) for at in range(1, 4_000, held)]
        found[f"renew, {held} held"] = it.calls(lambda store, t=t: store.renew(t) for t in leases)
    found["settle, 1 join"] = it.settle(run, range(1, 5_001))
    run = _run(it.submit(flow("layered20x50")))
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
    found["unit"] = unit_prices(it)
    found["one script, ready nodes"] = fan_outs(it)
    return found


def _run(submitted: SubmitResult) -> str:
    """The id of a run that has nodes to dispatch."""
    if submitted.dispatch is None:
        sys.exit("nothing became ready")
    return submitted.dispatch.run


def late_sweep(it: Scripts) -> dict[str, float]:
    """A sweep that finds 200 dispatched nodes nobody has claimed."""
    redis = it.meter.redis
    run = _run(it.submit(flow("fan20002")))
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


def unit_prices(it: Scripts) -> dict[str, Any]:
    """Adopting units and recording all that they have done, by the nodes of a unit."""
    run = _run(it.submit(flow("fan5002")))
    it.claim(run, [0])
    many = Granularity(packs={0: BatchSize(cost=1e-5, least=100, most=100)})
    found = {"settle, 5000 become ready together": it.settle(run, [0], grain=many)}
    for size in SIZES:
        nodes = min(20_000, 1_000 * size)
        plan = flow(f"layered1x{nodes}")
        pack = BatchSize(cost=1e-5, least=size, most=size)
        submitted = it.submit(plan, grain=Granularity(packs={0: pack}))
        run = _run(submitted)
        bundles = submitted.dispatch.bundles if submitted.dispatch else ()
        tickets = [UnitRef(run=run, unit=bundle.unit) for bundle in bundles]
        found[f"adopt {size}"] = it.calls(
            lambda store, t=ticket: store.adopt(t, worker="w") for ticket in tickets
        )
        news = [
            UnitProgress(
                done=[CompletedNode(node, OUTPUT, 0, 1) for node in range(b.node, b.node + b.count)]
            )
            for b in bundles
        ]
        found[f"flush {size}"] = it.calls(
            lambda store, t=t, n=n, p=plan: store.flush(
                t, n, p, worker="celery@somewhere", grain=Granularity()
            )
            for t, n in zip(tickets, news, strict=True)
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
        run = _run(it.submit(flow(f"fan{size + 2}")))
        it.claim(run, [0])
        found[str(size)] = it.settle(run, [0])["script"]
    return found
