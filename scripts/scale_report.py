"""Sweep the scale model and write the figures and tables of docs/scale.md.

Usage: make scale [ARGS="workers idle"]    (all sections of the page, or those named)

In: the prices, the page. Out: docs/img/scale-*.svg, and the page with fresh tables between its
markers. All random numbers come from one seed, so a second run changes nothing. Takes some minutes.
"""

import re
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from scripts.scale_model import simulate
from scripts.scale_parts import Cluster, Engine, Load, Prices, Result, chains, fan, layered
from scripts.scale_plots import draw
from scripts.scale_tables import backlog, memory, name, parameters, table, validation

ROOT = Path(__file__).resolve().parents[1]
PAGE, IMAGES = ROOT / "docs" / "scale.md", ROOT / "docs" / "img"
SEED = 7

WORKERS = (10, 100, 300, 1_000, 3_000, 10_000)
SECONDS = (0.0, 0.005, 0.1, 1.0, 10.0)
SHARDS = (1, 2, 4, 8, 16)
POLLS = 20.0  # a second, at each shard, by all janitors together

TODAY = Engine(mode="units")
MESSAGE = Engine(mode="message")
QUIET = Engine(mode="units", polls_per_shard=POLLS, jitter=0.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One simulation to do."""

    engine: Engine
    cluster: Cluster
    load: Load
    warm: float = 0.0
    window: float = 1e9
    watch: bool = False
    stall: tuple[float, float] = (0.0, 0.0)


def steady(engine: Engine, cluster: Cluster, shape: Any, seconds: float) -> Point:
    """A closed system after it has warmed up; the more workers, the longer that takes.

    The window is a multiple of what a node takes: slots may work in waves, and half a wave more
    would be a throughput that no slot can have.
    """
    slots = cluster.workers * cluster.slots
    filling = slots * 1.5e-4 / cluster.shards
    wide = 1.0 + filling
    return Point(
        engine=engine,
        cluster=cluster,
        load=shape(slots, seconds),
        warm=1.5 + 1.5 * seconds + filling,
        window=seconds * max(1, round(wide / seconds)) if seconds else wide,
    )


def run(prices: Prices, point: Point) -> Result:
    """Simulate one point."""
    return simulate(
        prices,
        point.engine,
        point.cluster,
        point.load,
        warm=point.warm,
        window=point.window,
        seed=SEED,
        watch=point.watch,
        stall=point.stall,
    )


def sweep(points: Mapping[Any, Point], prices: Prices) -> dict[Any, Result]:
    """Simulate many points on two cores."""
    with ProcessPoolExecutor(max_workers=2) as pool:
        return dict(zip(points, pool.map(partial(run, prices), points.values()), strict=True))


def workers(prices: Prices) -> str:
    """Throughput over workers, and where it bends."""
    engines = {
        "one message per node": MESSAGE,
        "units (today)": TODAY,
        "units, quiet janitors": QUIET,
    }
    points = {
        (title, seconds, count): steady(engine, Cluster(workers=count), chains, seconds)
        for title, engine in engines.items()
        for seconds in SECONDS
        for count in WORKERS
    }
    got = sweep(points, prices)
    panels = {
        title: {
            name(seconds): [(count, got[title, seconds, count].rate) for count in WORKERS]
            for seconds in SECONDS
        }
        for title in engines
    }
    draw(IMAGES / "scale-workers.svg", panels, x="workers (2 slots each)", y="nodes/s", log="xy")
    rows = []
    for title in engines:
        for seconds in SECONDS:
            line = [got[title, seconds, count] for count in WORKERS]
            best = max(range(len(line)), key=lambda at: line[at].rate)
            knee = line[best].rate / (line[0].rate / WORKERS[0])
            full = max(each.shards[0] for each in line) > 0.99
            bend = f"{knee:,.0f}" if best else f"{WORKERS[0]} or fewer"
            bend = bend if full else f"beyond {WORKERS[-1]:,}"
            rows.append(
                [
                    title,
                    name(seconds),
                    f"{line[0].rate / WORKERS[0]:,.1f}",
                    f"{line[best].rate:,.0f}",
                    bend,
                    f"{line[-1].rate:,.0f}",
                    f"{line[-1].shards[0]:.0%}",
                ]
            )
    titles = ["engine", "a node takes", "nodes/s of one worker", "most nodes/s", "knee, workers"]
    return table([*titles, "nodes/s at 10⁴ workers", "Redis busy there"], rows)


def idle(prices: Prices) -> str:
    """What workers cost that have nothing to do."""
    counts = (10, 100, 300, 1_000, 2_000, 3_000, 5_000, 7_000, 10_000)
    nothing = Load(layers=[1], runs=0, again=True)
    kinds = {
        "every 0.2 s (today)": Engine(),
        "every 1 s": Engine(poll=1.0),
        f"{POLLS:g} looks a second, all together": Engine(polls_per_shard=POLLS),
    }
    points = {
        (kind, count): Point(
            engine=engine, cluster=Cluster(workers=count), load=nothing, warm=2.0, window=4.0
        )
        for kind, engine in kinds.items()
        for count in counts
    }
    # Without the price of waking up, which a server pays only while it has time.
    got = sweep(points, prices.changed(redis_wake=1e-9))
    lines = {
        kind: [(count, 100 * got[kind, count].shards[0]) for count in counts] for kind in kinds
    }
    draw(IMAGES / "scale-idle.svg", {"": lines}, x="idle workers", y="Redis busy, %", bottom=0)
    shown = (100, 1_000, 3_000, 10_000)
    rows = [[k, *(f"{got[k, count].shards[0]:.1%}" for count in shown)] for k in kinds]
    return table(["janitors look", *(f"{count:,} workers" for count in shown)], rows)


def handback(prices: Prices) -> str:
    """What it costs to give back work by the clock while Redis is what one waits for."""
    counts, limits = (100, 1_000, 3_000), (0.25, 2.5, 1e9)
    points = {
        (limit, count): steady(replace(TODAY, hand_back=limit), Cluster(workers=count), chains, 0.0)
        for limit in limits
        for count in counts
    }
    got = sweep(points, prices)
    rows = []
    for limit in limits:
        line = [got[limit, count] for count in counts]
        cells = [f"{each.rate:,.0f} ({each.messages / each.nodes:.2f})" for each in line]
        rows.append([f"after {limit:g} s" if limit < 1e6 else "never", *cells])
    return table(["gives back", *(f"{count:,} workers" for count in counts)], rows)


def shards(prices: Prices) -> str:
    """10,000 workers on 1 to 16 shards."""
    kinds = {
        "message, one broker, janitors as today": (MESSAGE, 1),
        "message, one broker": (replace(MESSAGE, polls_per_shard=POLLS), 1),
        "message, a broker on each shard": (replace(MESSAGE, polls_per_shard=POLLS), 0),
        "units, one broker": (QUIET, 1),
        "units, a broker on each shard": (QUIET, 0),
    }
    takes = (0.1,)
    points = {
        (kind, seconds, count): steady(
            engine, Cluster(workers=10_000, shards=count, brokers=brokers), chains, seconds
        )
        for kind, (engine, brokers) in kinds.items()
        for seconds in takes
        for count in SHARDS
    }
    got = sweep(points, prices)
    panels = {
        f"nodes of {name(seconds)}": {
            kind: [(count, got[kind, seconds, count].rate) for count in SHARDS] for kind in kinds
        }
        for seconds in takes
    }
    draw(IMAGES / "scale-shards.svg", panels, x="shards", y="nodes/s", log="xy")
    rows = [
        [kind, name(seconds), *(f"{got[kind, seconds, count].rate:,.0f}" for count in SHARDS)]
        for seconds in takes
        for kind in kinds
    ]
    return table(
        ["engine", "a node takes", "1 shard", *(f"{count} shards" for count in SHARDS[1:])], rows
    )


def heartbeats(prices: Prices) -> str:
    """Calls to a Redis after it stood still for 3 s, with 20,000 long nodes running."""
    kinds = {
        "each child, every 1.5 s (today)": replace(QUIET, jitter=0.0),
        "each child, ± 20 %": QUIET,
        "each worker, ± 20 %": replace(QUIET, per_process=False),
    }
    cluster = Cluster(workers=10_000, brokers=1)
    load = Load(layers=[1], seconds=60.0, runs=20_000, again=True, joins=False)
    points = {
        kind: Point(
            engine=engine,
            cluster=cluster,
            load=load,
            warm=14.0,
            window=12.0,
            watch=True,
            stall=(12.0, 2.0),
        )
        for kind, engine in kinds.items()
    }
    got = sweep(points, prices)
    lines = {}
    rows = []
    for kind, result in got.items():
        worst: dict[int, float] = {}
        for when, wait in result.calls:
            slot = int((when - 14.0) / 0.1)
            worst[slot] = max(worst.get(slot, 0.0), wait)
        lines[kind] = [(at / 10, 1e3 * worst[at]) for at in sorted(worst) if at >= 5]
        late = [wait for when, wait in result.calls if when >= 20.0]
        late.sort()
        rows.append(
            [
                kind,
                f"{len(late) / 6:,.0f}",
                f"{result.background:.1%}",
                f"{1e3 * late[int(0.99 * len(late))]:.1f} ms",
                f"{1e3 * late[-1]:.1f} ms",
            ]
        )
    draw(
        IMAGES / "scale-heartbeats.svg",
        {"": lines},
        x="seconds after a stall of 2 s",
        y="slowest call, ms",
        marker="-",
    )
    titles = ["heartbeats from", "calls/s", "Redis busy with housekeeping"]
    return table([*titles, "p99, 6 s later", "slowest, 6 s later"], rows)


def million(prices: Prices) -> str:
    """One run of a million nodes: a fan, on one shard."""
    cases = [
        (
            "one message per node, sliced",
            replace(MESSAGE, polls_per_shard=POLLS, sliced=True),
            1_000,
            0.0,
        ),
        ("units", QUIET, 1_000, 0.0),
        ("units, sliced", replace(QUIET, sliced=True), 1_000, 0.0),
        ("one message per node", replace(MESSAGE, polls_per_shard=POLLS), 10_000, 1.0),
    ]
    points = {
        at: Point(engine=engine, cluster=Cluster(workers=count), load=fan(10**6, seconds))
        for at, (_, engine, count, seconds) in enumerate(cases)
    }
    got = sweep(points, prices)
    rows = []
    for at, (title, _, count, seconds) in enumerate(cases):
        result = got[at]
        ideal = 10**6 * seconds / (2 * count)
        rows.append(
            [
                title,
                f"{count:,}",
                name(seconds),
                f"{result.messages:,}",
                f"{result.seconds:,.0f} s",
                f"{ideal:,.0f} s",
                f"{result.rate:,.0f}",
                f"{result.shards[0]:.0%}",
            ]
        )
    titles = ["engine", "workers", "a node takes", "messages", "makespan", "of it work"]
    return table([*titles, "nodes/s", "Redis busy"], rows)


def changes(prices: Prices) -> str:
    """What each change brings, one after the other, with 10,000 workers."""
    steps: list[tuple[str, Engine, int, int]] = [
        ("one message per node", MESSAGE, 1, 0),
        ("units, one event a batch (today)", TODAY, 1, 0),
    ]

    def then(title: str, shard: int, broker: int, **more: Any) -> None:
        steps.append((title, replace(steps[-1][1], **more), shard, broker))

    then("janitors look less often the more they are", 1, 0, polls_per_shard=POLLS)
    then("nodes that wait for the same nodes share a count", 1, 0, shared_joins=True)
    then("units give back by time spent running", 1, 0, hand_back=1e9)
    then("messages on a Redis of their own", 1, 1)
    then("4 shards, each with its messages", 4, 0)
    then("16 shards, each with its messages", 16, 0)
    takes = (0.0, 0.1, 1.0)
    points = {
        (title, seconds): steady(
            engine, Cluster(workers=10_000, shards=count, brokers=brokers), layered, seconds
        )
        for title, engine, count, brokers in steps
        for seconds in takes
    }
    got = sweep(points, prices)
    rows = [
        [
            title,
            *(f"{got[title, seconds].rate:,.0f}" for seconds in takes),
            f"{got[title, 0.1].shards[0]:.0%}",
        ]
        for title, *_ in steps
    ]
    titles = ["and then", *(f"nodes/s, nodes of {name(s)}" for s in takes)]
    return table([*titles, "Redis busy (100 ms)"], rows)


SECTIONS = {
    each.__name__: each
    for each in (
        validation,
        workers,
        handback,
        idle,
        shards,
        heartbeats,
        million,
        changes,
        backlog,
        memory,
        parameters,
    )
}


def main() -> None:
    """Do everything and write the page's tables."""
    prices = Prices.load()
    for key in sys.argv[1:] or SECTIONS:
        print(key, flush=True)
        fresh = SECTIONS[key](prices)
        text = PAGE.read_text("utf-8")
        found = re.search(rf"(<!-- {key} -->\n).*?(<!-- /{key} -->)", text, re.DOTALL)
        if found is None:
            msg = f"{PAGE.name} has no place for {key!r}: <!-- {key} --> <!-- /{key} -->"
            raise SystemExit(msg)
        PAGE.write_text(text[: found.end(1)] + f"\n{fresh}\n\n" + text[found.start(2) :], "utf-8")


if __name__ == "__main__":
    main()
