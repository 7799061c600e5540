"""A discrete-event model of the native engine: workers, brokers, shards of Redis.

In: prices of scripts/scale_parameters.toml, a cluster, a load. Out: nodes per second, what each
server was busy with, how long a script call took. Not here: sweeps and plots (scale_report), the
measuring of prices (scale_measure), one point from the command line (scale_point).

What is modelled. A Redis is one thread: a first-come-first-served server with a price per call. A
worker is Celery's parent process, one thread as well, with some slots (its children). A message is
popped from the broker, handled by the parent, claimed, run, settled, its successors published,
acknowledged. A unit goes on with what it alone has made ready and records it together. While a
parent records or acknowledges a message it waits for the broker. Janitors and heartbeats are calls
like any other. What is not: garbage collection, slow disks, lost packets, the bandwidth of the
network, the cost of a fork; a unit that begins a wide layer before it has shared it out.

Why not simpy. Every queue here has one server and serves in order of arrival, so when a call ends
is known when it arrives: ``max(now, free) + price``. A step costs one entry of a heap and no event
object, about 2 µs; simpy needs several objects for each, and runs of 10^6 nodes take minutes.
"""

import random
from collections import deque
from collections.abc import Generator
from heapq import heappop, heappush

from scripts.scale_parts import (
    Cluster,
    Cores,
    Engine,
    Load,
    Prices,
    Result,
    Run,
    Server,
)

__all__ = ["simulate"]

_Steps = Generator[float | None, None, None]
_CHUNK = 1000
_TURNS = 4
_NOTES_EVERY = 2.0
_ENDED = -1.0


class _World:
    """The state of one simulation."""

    def __init__(
        self,
        prices: Prices,
        engine: Engine,
        cluster: Cluster,
        load: Load,
        *,
        seed: int,
        watch: bool,
    ) -> None:
        self.p, self.engine, self.cluster, self.load = prices, engine, cluster, load
        self.random = random.Random(seed)
        self.cores = Cores(cluster.machine) if cluster.machine else None
        wake = prices.redis_wake
        self.shards = [
            Server(self.cores, wake=wake, watch=watch and not k) for k in range(cluster.shards)
        ]
        apart = [Server(self.cores, wake=wake) for _ in range(cluster.brokers)]
        self.brokers = apart or self.shards
        self.parents = [Server(self.cores) for _ in range(cluster.workers)]
        self.children = [Server(self.cores) for _ in range(cluster.workers * cluster.slots)]
        self.shard_of: list[int | None] = [None] * len(self.children)
        self.beating = [False] * len(self.children)
        self.queue: deque[tuple[Run, int]] = deque()
        self.idle: deque[_Steps] = deque()
        self.heap: list[tuple[float, int, _Steps]] = []
        self.now, self.serial = 0.0, 0
        self.nodes = self.messages = self.inside = 0
        self.integral = self.changed = 0.0
        self.working = self.residence = self.background = 0.0
        self.done, self.enough = 0, float("inf") if load.again else load.runs
        self.rtt = prices.loopback if cluster.machine else prices.network
        # Above 1,000 workers some do their housekeeping at the same moments: fewer steps.
        self.crowd = max(1, cluster.workers // 1_000)
        self.keep = self.most = 1
        self.ready_node = prices.ready_node
        if engine.mode == "units":
            each = load.seconds + prices.unit_node
            self.keep = max(1, min(engine.most, int(engine.grain / each)))
            if self.keep > 1:
                self.ready_node = prices.ready_together
            self.most = max(self.keep, min(engine.most, int(engine.plenty / each)))

    def start(self, steps: _Steps, at: float | None = None) -> None:
        """Let steps begin (or go on) at a time."""
        self.serial += 1
        heappush(self.heap, (self.now if at is None else at, self.serial, steps))

    def advance(self, until: float) -> None:
        """Go through what happens until then, or until all runs have ended.

        Steps yield the time at which they go on, or None to wait for a message.
        """
        heap = self.heap
        while heap and self.done < self.enough:
            if heap[0][0] > until:
                self.now = until
                return
            self.now, _, steps = heappop(heap)
            when = next(steps, _ENDED)
            if when is None:
                self.idle.append(steps)
            elif when != _ENDED:
                self.start(steps, when)

    # ── what the cluster does ───────────────────────────────────────────────────────────────────

    def broker(self, run: Run) -> Server:
        """The server that carries a run's messages."""
        return self.brokers[run.shard % len(self.brokers)]

    def client(self, run: Run) -> _Steps:
        """Create a run and publish its first layer."""
        p = self.p
        shard = self.shards[run.shard]
        yield shard.serve(self.now, p.submit + run.left * self.ready_node) + self.rtt
        yield from self.publish(run, run.left, None)

    def publish(self, run: Run, nodes: int, child: Server | None) -> _Steps:
        """Ring for nodes, in bundles; all leave together unless the engine slices them."""
        p, broker = self.p, self.broker(run)
        size = self.size(nodes)
        count = -(-nodes // size)
        whole = min(_CHUNK, count) if self.engine.sliced else count
        while count:
            part = min(whole, count)
            work = p.publish_first + (part - 1) * p.publish_more
            yield child.serve(self.now, work) if child else self.now + work
            for at in range(0, part, _CHUNK):  # the server reads a long pipeline a piece at a time
                yield broker.serve(self.now, min(_CHUNK, part - at) * p.broker_push)
            yield self.now + self.rtt / 2
            for _ in range(part):
                bundle = min(size, nodes)
                nodes -= bundle
                self.ring(run, bundle)
            count -= part
            yield self.now + self.rtt / 2

    def size(self, nodes: int) -> int:
        """How many of the ready nodes travel in one message: more where there is plenty."""
        return max(self.keep, min(self.most, nodes // (_TURNS * len(self.children))))

    def slot(self, number: int) -> _Steps:
        """One child of a worker, and what its parent does for it."""
        p, rtt = self.p, self.rtt
        parent = self.parents[number // self.cluster.slots]
        while True:
            way = rtt
            while not self.queue:
                way = rtt / 2  # its request lies at the broker already
                yield None
            run, count = self.queue.popleft()
            broker = self.broker(run)
            started = self.now
            self.enter(1)
            yield broker.serve(self.now, p.broker_pop) + way
            waits = rtt + broker.wait(self.now) + p.broker_record
            yield parent.serve(self.now, p.parent_message / 2, hold=waits)
            broker.serve(self.now, p.broker_record)
            yield from self.unit(number, run, count)
            yield self.children[number].serve(self.now, p.child_message / 2)
            waits = rtt + broker.wait(self.now) + p.broker_acknowledge
            yield parent.serve(self.now, p.parent_message / 2, hold=waits)
            broker.serve(self.now, p.broker_acknowledge + p.broker_events)
            self.messages += 1
            self.enter(-1)
            self.residence += self.now - started

    def enter(self, change: int) -> None:
        """Keep the time integral of messages between pop and acknowledgement, for Little's law."""
        self.integral += self.inside * (self.now - self.changed)
        self.inside, self.changed = self.inside + change, self.now

    def unit(self, number: int, run: Run, count: int) -> _Steps:
        """Run what a message carries, and go on with what becomes ready."""
        p, rtt, engine, units = self.p, self.rtt, self.engine, self.engine.mode == "units"
        child, shard = self.children[number], self.shards[run.shard]
        self.shard_of[number] = run.shard
        self.beat(number)
        opened = flushed = self.now
        yield child.serve(self.now, p.child_message / 2)
        price = p.claim if count == 1 else p.adopt_call + count * p.adopt_node
        yield shard.serve(self.now, price) + rtt
        alone = count == 1  # came as a plain message, not as a unit
        done = 0
        while True:
            work = p.unit_node if units else 0.0
            yield child.serve(self.now, count * work, hold=count * self.load.seconds)
            self.working += count * self.load.seconds
            done += count
            whole = count == run.width
            ready, joins = run.settle(count)
            ended = run.left == 0
            # What only this unit can have made ready needs no word of the store's.
            early = self.load.seconds < engine.grain and self.now - flushed < engine.flush_after
            if units and not alone and whole and 0 < ready <= self.keep and early:
                count = ready
                continue
            goes_on = units and ready and self.now - opened < engine.hand_back
            taken = min(self.keep, ready) if goes_on else 0
            price = self.settle_price(done, ready, joins, alone=alone)
            yield shard.serve(self.now, price) + rtt
            self.nodes += done
            done, alone, flushed = 0, False, self.now
            if ended:
                self.end()
            if ready > taken:
                yield from self.publish(run, ready - taken, child)
            if not taken:
                break
            if self.load.seconds >= engine.grain:  # nobody is to think that it has not begun
                yield shard.serve(self.now, p.flush_call) + rtt
            count = taken
        self.shard_of[number] = None

    def settle_price(self, count: int, ready: int, joins: int, *, alone: bool) -> float:
        """Seconds of a shard for recording ``count`` nodes."""
        p, most = self.p, self.engine.flush_most
        calls = -(-count // most)
        if self.engine.shared_joins:
            joins = min(joins, 1)
        # Joins are counted once for all nodes of a call that have the same successors.
        more = calls * joins * p.settle_join + ready * self.ready_node
        return (p.settle if alone else calls * p.flush_call + count * p.flush_node) + more

    def end(self) -> None:
        """A run has ended; in a closed system another one begins."""
        self.done += 1
        if self.load.again:
            self.begin()

    def begin(self, at: float | None = None) -> None:
        """Submit a run; its id decides its shard."""
        shard = self.random.randrange(len(self.shards))
        run = Run(load=self.load, shard=shard, left=self.load.layers[0])
        # The runs a closed system begins with have been submitted before it is looked at.
        self.start(self.client(run) if at is None else self.waiting(run), at)

    def waiting(self, run: Run) -> _Steps:
        """A run whose first messages are in the queue already."""
        size = self.size(run.left)
        for at in range(0, run.left, size):
            self.ring(run, min(size, run.left - at))
        yield self.now

    def ring(self, run: Run, bundle: int) -> None:
        """A message is in the queue: wake a slot that waits for one."""
        self.queue.append((run, bundle))
        if self.idle:
            self.start(self.idle.popleft())

    # ── housekeeping ────────────────────────────────────────────────────────────────────────────

    def janitor(self) -> _Steps:
        """Look at one shard after the other."""
        engine, price, count = self.engine, self.p.sweep * self.crowd, len(self.shards)
        pause = engine.poll
        if engine.polls_per_shard:
            pause = max(pause, self.cluster.workers / engine.polls_per_shard)
        pause, at = pause / count, self.random.randrange(count)
        yield self.now + self.random.uniform(0, pause)
        while True:
            at = (at + 1) % count
            if not at:
                self.background += price
            yield self.shards[at].serve(self.now, price) + self.rtt + pause

    def notes(self) -> _Steps:
        """The worker's note on the board, Celery's own heartbeat, its pops that found nothing."""
        p = self.p
        yield self.now + self.random.uniform(0, _NOTES_EVERY)
        while True:
            work = p.note * self.crowd
            self.shards[0].serve(self.now, work)
            self.background += work
            for broker in self.brokers:
                work = self.crowd * (p.broker_event + _NOTES_EVERY * p.broker_empty_pop)
                broker.serve(self.now, work)
                self.background += work * (broker is self.shards[0])
            yield self.now + _NOTES_EVERY

    def beat(self, number: int) -> None:
        """Heartbeats begin with the first node that a process runs, as the engine's thread does."""
        if not self.engine.heartbeat or not self.engine.poll:
            return
        slots = self.cluster.slots
        first = number if self.engine.per_process else number // slots * slots
        if not self.beating[first]:
            self.beating[first] = True
            beats = range(first, first + (1 if self.engine.per_process else slots))
            self.start(self.heart(beats))

    def heart(self, numbers: range) -> _Steps:
        """Renew what these children hold."""
        engine, p = self.engine, self.p
        while True:
            moved = engine.jitter * self.random.uniform(-1, 1)
            yield self.now + engine.heartbeat * (1 + moved)
            held = [at for at in (self.shard_of[n] for n in numbers) if at is not None]
            for at in dict.fromkeys(held):
                work = p.renew_call + held.count(at) * p.renew_lease
                self.background += work * (not at)
                yield self.shards[at].serve(self.now, work) + self.rtt

    def stall(self, seconds: float) -> _Steps:
        """The first shard does nothing else for a while: one huge script, or a failover."""
        self.shards[0].serve(self.now, seconds)
        yield self.now


def simulate(  # noqa: PLR0913  (what is simulated, and how it is looked at)
    prices: Prices,
    engine: Engine,
    cluster: Cluster,
    load: Load,
    *,
    warm: float = 0.0,
    window: float = 1e9,
    seed: int = 1,
    watch: bool = False,
    stall: tuple[float, float] = (0.0, 0.0),
) -> Result:
    """Run one simulation.

    Args:
        prices: What things cost.
        engine: How the engine is built.
        cluster: What it runs on.
        load: What it has to do.
        warm: Simulated seconds before the window begins.
        window: Seconds that are looked at; a load that ends is looked at until its end.
        seed: Of all that is random; the same seed gives the same result.
        watch: Keep each call of the first shard.
        stall: When the first shard stops for how long.
    """
    world = _World(prices, engine, cluster, load, seed=seed, watch=watch)
    for number in range(len(world.children)):
        world.start(world.slot(number), 0.0)
    if engine.poll:
        for _ in range(cluster.workers // world.crowd):
            world.start(world.janitor(), 0.0)
            world.start(world.notes(), 0.0)
    for _ in range(load.runs):
        world.begin(world.random.uniform(0, warm / 4) if load.again else None)
    if stall[1]:
        world.start(world.stall(stall[1]), stall[0])
    world.advance(warm)
    before = _marks(world)
    world.advance(warm + window)
    after = _marks(world)
    nodes, messages, working, residence, background, integral, *busy = (
        b - a for a, b in zip(before, after, strict=True)
    )
    span = max(world.now - warm, 1e-12)
    shards, brokers = busy[: len(world.shards)], busy[len(world.shards) :]
    return Result(
        nodes=round(nodes),
        seconds=span,
        messages=round(messages),
        shards=[each / span for each in shards],
        brokers=[each / span for each in brokers],
        background=background / span,
        slots=working / span / len(world.children),
        in_flight=integral / span,
        residence=residence / messages if messages else 0.0,
        calls=[call for call in world.shards[0].waits or () if call[0] >= warm],
    )


def _marks(world: _World) -> list[float]:
    world.enter(0)
    return [
        world.nodes,
        world.messages,
        world.working,
        world.residence,
        world.background,
        world.integral,
        *(server.busy - server.wait(world.now) for server in world.shards),
        *(server.busy - server.wait(world.now) for server in world.brokers),
    ]
