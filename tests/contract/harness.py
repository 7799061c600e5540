"""One way to drive every store, on a clock moved by hand."""

import functools
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import msgpack
import redis

from flowcore.plan.plan import Plan, Scope, layers, successors
from flowcore.plan.policy import Policy, StructuredSpec
from flowcore.ports.store import (
    AppendResult,
    AttemptRef,
    Claim,
    EventLog,
    NewRun,
    Outcome,
    RunReader,
    RunStore,
    SubmitResult,
    Transition,
)
from flowcore.run.event import Event, EventType
from flowcore.run.node_event import Note
from flowcore.run.record import Failure
from flowcore.run.status import NodeState, RunState
from flowcore.stores.inmemory import InMemoryStore
from flowcore.stores.redis.connection.capacity import RedisRoom
from flowcore.stores.redis.connection.script import Script, ScriptConnection, script_source
from flowcore.stores.redis.keys import run_key
from flowcore.stores.redis.runs.codec import read_unit
from flowcore.stores.redis.runs.event_log import RedisEventLog
from flowcore.stores.redis.runs.leases import Leases
from flowcore.stores.redis.runs.reader import RedisReader
from flowcore.stores.redis.runs.store import RedisStore
from flowcore.stores.redis.sharding.events import ShardedEventLog
from flowcore.stores.redis.sharding.runs import ShardedReader, ShardedStore
from flowcore.stores.redis.sharding.shard import Shard
from flowcore.stores.redis.workers import RedisWorkerBoard

__all__ = [
    "LEASES",
    "RUN",
    "Clock",
    "Harness",
    "in_memory",
    "make_plan",
    "on_clock",
    "on_redis",
    "on_shards",
]

LEASES = Leases(lease=6.0, dispatch=5.0, retention=3600.0, max_lost=2)
RUN = "run"

_ENDS = {
    EventType.NODES_REUSED: NodeState.SUCCEEDED,
    EventType.NODE_SUCCEEDED: NodeState.SUCCEEDED,
    EventType.NODE_FAILED: NodeState.FAILED,
    EventType.NODES_SKIPPED: NodeState.SKIPPED,
    EventType.NODES_CANCELLED: NodeState.CANCELLED,
}
BOOM = Failure(type="ValueError", message="boom")

_SERVER_TIME = """  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
"""
_CLOCK_KEY = "test:clock"
_TEST_TIME = f"  return tonumber(redis.call('GET', '{_CLOCK_KEY}'))\n"


_MICROS = "test:micros"


def on_clock(client: "redis.Redis", clock: "Clock", source: str) -> str:
    """A script that asks for the server's time in one place, reading a clock moved by hand."""
    assert source.count("redis.call('TIME')") == 1

    def tell(_: int = 0) -> None:
        client.set(_MICROS, clock.ms * 1000)

    tell()
    clock.on_advance.append(tell)
    told = f"local m = redis.call('GET', '{_MICROS}') return {{ m:sub(1, -7), m:sub(-6) }}"
    return source.replace("redis.call('TIME')", f"(function() {told} end)()")


def _epilogue(epilogue_condition: str) -> Policy:
    """The policy of a last node that has its turn at the end: always, or upon failure."""
    last = b"\x80" if epilogue_condition == "a" else b""
    return Policy(uses="test:end", body=StructuredSpec(kind="epilogue", last=last))


def make_plan(
    pred: Sequence[Sequence[int]],
    *,
    join: Mapping[int, str] | None = None,
    max_parallel: int | None = None,
    timeout: float | None = None,
    fail_fast: bool = True,
    spared: int = 0,
    epilogue: str = "",
    scope: Scope = "",
    flow: str = "flow",
) -> Plan:
    """A plan straight from lists of predecessors; node 0 is called ``n0``."""
    before = (*map(tuple, pred), *([()] if epilogue else []))
    rules = [(join or {}).get(node, "all_success") for node in range(len(before))]
    kinds = sorted(set(rules))
    facts = repr((before, rules, max_parallel, timeout, fail_fast, spared, epilogue, scope, flow))
    return Plan(
        hash=hashlib.blake2b(facts.encode(), digest_size=16).hexdigest(),
        flow=flow,
        version="1",
        ids=tuple(f"n{node}" for node in range(len(before))),
        params=({},) * len(before),
        policies=(
            *(Policy(uses="test:node", join=kind) for kind in kinds),
            *([_epilogue(epilogue)] if epilogue else []),
        ),
        policy_of=(
            *(kinds.index(rule) for rule in rules[: len(pred)]),
            *([len(kinds)] if epilogue else []),
        ),
        pred=before,
        succ=successors(before),
        when={},
        levels=layers(before),
        inputs={},
        max_parallel=max_parallel,
        timeout=timeout,
        fail_fast=fail_fast,
        spared=spared,
        scope=scope,
    )


_SET_CLOCK = """
redis.call('SET', ARGV[1], ARGV[2])
if ARGV[3] == '0' then return end
for _, key in ipairs(redis.call('KEYS', 'fc:*')) do
  local left = redis.call('PTTL', key)
  if left >= 0 then redis.call('PEXPIRE', key, left - ARGV[3]) end
end
"""


@dataclass
class Clock:
    """Milliseconds that pass only when told to."""

    ms: int = 1_700_000_000_000
    on_advance: list[Callable[[int], None]] = field(default_factory=list)

    def __call__(self) -> float:
        return self.ms / 1000

    def advance(self, seconds: float) -> None:
        moved = round(seconds * 1000)
        self.ms += moved
        for hook in self.on_advance:
            hook(moved)


@dataclass(kw_only=True)
class Harness:
    """A store under test, and short words for what tests do with it."""

    kind: str
    store: RunStore
    reader: RunReader
    events: EventLog
    clock: Clock
    agenda: Callable[[], Mapping[str, int]]
    """What is on the agenda, as ``run|what``, and when (ms)."""
    units: Callable[[str], Mapping[str, Sequence[int]]]
    """The units of a run, and the nodes of each."""
    leftovers: Callable[[], Sequence[str]]
    """Everything the store still keeps."""
    reopened: Callable[[], RunStore]
    """The same store as another process sees it: with empty caches."""
    _said: Counter[AttemptRef] = field(default_factory=Counter)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def submit(self, plan: Plan, run: str = RUN, **more: Any) -> SubmitResult:
        return self.store.submit(NewRun(id=run, plan=plan.hash, input=b"\x80", **more), plan)

    def claim(
        self, node: int, attempt: int = 1, *, run: str = RUN, outputs_of: Sequence[int] = ()
    ) -> Claim | None:
        ticket = AttemptRef(run=run, node=node, attempt=attempt)
        return self.store.claim(ticket, worker="w1", outputs_of=outputs_of)

    def settle(
        self,
        node: int,
        attempt: int = 1,
        *,
        run: str = RUN,
        kind: Any = "succeeded",
        turn: int | None = None,
        **more: Any,
    ) -> Transition:
        if kind == "succeeded":
            more.setdefault("output", msgpack.packb(node))
        else:
            more.setdefault("failure", BOOM)
        ticket = AttemptRef(run=run, node=node, attempt=attempt, turn=turn)
        return self.store.settle(ticket, Outcome(kind=kind, **more))

    def say(
        self, ticket: AttemptRef, *data: Any, kind: str = "node.emitted", number: int | None = None
    ) -> AppendResult:
        """Have a node say something: what comes next, or what came with a ``number``."""
        self._said[ticket] += 1
        notes = [Note(type=EventType(kind), packed=msgpack.packb(one)) for one in data]
        return self.events.append(ticket, notes, number=number or self._said[ticket])

    def do(self, node: int, attempt: int = 1, *, run: str = RUN, **more: Any) -> Transition:
        """Claim and settle; both must be accepted."""
        assert self.claim(node, attempt, run=run) is not None, f"no claim of {node}#{attempt}"
        advance = self.settle(node, attempt, run=run, **more)
        assert advance.accepted, f"{node}#{attempt} was not heard"
        return advance

    def state(self, run: str = RUN) -> RunState:
        summary = self.reader.summary(run)
        assert summary is not None
        return summary.state

    def nodes(self, run: str = RUN) -> str:
        """One letter per node."""
        record = self.reader.record(run)
        assert record is not None
        return "".join(node.state.letter for node in record.nodes.values())

    def node(self, node: int, run: str = RUN) -> NodeState:
        return self.reader.states(run, [node])[node]

    def log(self, run: str = RUN) -> list[Event]:
        """Every event so far."""
        events: list[Event] = []
        while page := self.events.read(run, after=events[-1].id if events else 0):
            events += page
        return events

    def told(self, run: str = RUN) -> list[str]:
        return [event.type.value for event in self.log(run)]

    def assert_ended_well(self, run: str = RUN) -> None:
        """What holds of every run that has ended, however it did."""
        record = self.reader.record(run)
        assert record is not None
        assert record.state.is_terminal
        assert record.settled == record.total
        assert all(node.state.is_terminal for node in record.nodes.values())
        log = self.log(run)
        assert [event.id for event in log] == list(range(1, len(log) + 1))
        ends_of_run = [event.type.is_terminal for event in log].count(True)
        starts_over = [
            before.type.is_terminal and event.type is EventType.RUN_RESUMED
            for before, event in itertools.pairwise(log)
        ]
        assert ends_of_run == 1 + starts_over.count(True), "no end changes but by a resume"
        assert log[-1].type.is_terminal
        assert [what for what in self.agenda() if what.rpartition("|")[0] == run] == [f"{run}|R"]
        ends: dict[str, str] = {}
        for event in log:
            for name in event.nodes:
                if event.type is EventType.RUN_RESUMED:
                    assert ends.pop(name, None), "only what has ended is run again"
                elif event.type in _ENDS:
                    assert name not in ends, f"{event.type} of a node that has ended"
                    ends[name] = _ENDS[event.type]
        assert ends == {name: node.state for name, node in record.nodes.items()}


def in_memory(clock: Clock | None = None, leases: Leases = LEASES) -> Harness:
    clock = clock or Clock()
    store = InMemoryStore(clock=clock, **asdict(leases))
    world = store._world

    def leftovers() -> list[str]:
        world.forget_plans(clock.ms)
        return [*world.runs, *map(str, world.agenda), *world.plans, *world.plan_users]

    return Harness(
        kind="inmemory",
        store=store,
        reader=store,
        events=store,
        clock=clock,
        agenda=lambda: {f"{run}|{what}": at for (run, what), at in world.agenda.items()},
        units=lambda run: {
            name: sorted(unit.nodes) for name, unit in world.runs[run].units.items()
        },
        leftovers=leftovers,
        reopened=lambda: store,
    )


def on_redis(client: "redis.Redis", clock: Clock | None = None, leases: Leases = LEASES) -> Harness:
    """The Redis store with its scripts' one look at the server's clock turned to the test's.

    Expiry of keys is real time on Redis: it is brought forward by as much as the clock moves.
    """
    clock = clock or Clock()

    def open_store() -> RedisStore:
        store = RedisStore(client, leases=leases, clock=clock)
        store._scripts = {name: _script(client, name) for name in store._scripts}
        return store

    def set_clock(moved: int) -> None:
        client.eval(_SET_CLOCK, 0, _CLOCK_KEY, clock.ms, moved)

    def agenda() -> dict[str, int]:
        entries: Any = client.zrange("fc:agenda", 0, -1, withscores=True)
        return {member.decode(): int(at) for member, at in entries}

    def units(run: str) -> dict[str, Sequence[int]]:
        kept: Any = client.hgetall(run_key(run, "own"))
        return {name.decode(): read_unit(text[1:]) for name, text in kept.items()}

    set_clock(0)
    clock.on_advance.append(set_clock)
    store = open_store()
    events = RedisEventLog(client, client, plans=store)
    events._emit = _script(client, "emit")
    return Harness(
        kind="redis",
        store=store,
        reader=RedisReader(client, plans=store, events=events),
        events=events,
        clock=clock,
        agenda=agenda,
        units=units,
        leftovers=lambda: list(map(str, client.keys("fc:*"))),
        reopened=open_store,
    )


def on_shards(clients: Sequence["redis.Redis"], clock: Clock | None = None) -> Harness:
    """Several servers as one store, each like that of ``on_redis``."""
    clock = clock or Clock()
    each = [on_redis(client, clock) for client in clients]

    def open_store(parts: Sequence[Harness]) -> ShardedStore:
        shards = [
            Shard(
                name=f"server-{at}",
                store=cast("RedisStore", part.reopened()),
                reader=cast("RedisReader", part.reader),
                events=cast("RedisEventLog", part.events),
                board=RedisWorkerBoard(clients[at]),
                room=RedisRoom(clients[at]),
            )
            for at, part in enumerate(parts)
        ]
        return ShardedStore(shards, patience=30.0)

    store = open_store(each)
    return Harness(
        kind="sharded",
        store=store,
        reader=ShardedReader(store),
        events=ShardedEventLog(store),
        clock=clock,
        agenda=lambda: {what: at for part in each for what, at in part.agenda().items()},
        units=lambda run: {name: ids for part in each for name, ids in part.units(run).items()},
        leftovers=lambda: [key for part in each for key in part.leftovers()],
        reopened=lambda: open_store(each),
    )


@functools.lru_cache(maxsize=200)
def _script(client: "redis.Redis", name: str) -> Script:
    """Thousands of schedules share a client: connecting for each would take longer than they do."""
    return Script(_line(client), _on_test_time(name))


@functools.lru_cache(maxsize=10)
def _line(client: "redis.Redis") -> ScriptConnection:
    return ScriptConnection(client)


def _on_test_time(name: str) -> str:
    text = script_source(name)
    assert text.count(_SERVER_TIME) == 1, "core.lua reads the time in another way: adapt this test"
    assert text.count("TIME'") == 1, "only clock() may read the time"
    return text.replace(_SERVER_TIME, _TEST_TIME)
