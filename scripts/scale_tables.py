"""The tables of docs/scale.md that need no sweep: validation, long queues, memory, prices.

In: the prices. Out: Markdown. Not here: sweeps and figures (scale_report).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from scripts.scale_model import simulate
from scripts.scale_parts import Cluster, Engine, Load, Mode, Prices, fan

__all__ = ["backlog", "copies", "memory", "name", "parameters", "table", "validation"]

#: Nodes per second over those of independent no-op tasks on the same worker, which is the ceiling:
#: (flow, mode) -> ratio. One message per node where it was measured well.
MEASURED: dict[tuple[str, Mode], float] = {
    ("chain1000", "message"): 0.76,
    ("fan1000", "message"): 0.97,
    ("chain1000", "units"): 74,
    ("fan1000", "units"): 41,
    ("fan10000", "units"): 73,
    ("layered20x50", "units"): 37,
    ("layered100x100", "units"): 65,
}
CEILING = 1001.0
FLOWS = {
    "fan1000": fan(1_000),
    "fan10000": fan(10_000),
    "chain1000": Load(layers=[1] * 1000, joins=False),
    "layered20x50": Load(layers=[50] * 20),
    "layered100x100": Load(layers=[100] * 100),
}

#: Bytes per node by what holds them, of scripts/scale_measure.py.
BYTES = {
    "events (two a node; 24 bytes in a unit)": 108.6,
    "outputs (of one byte)": 39.4,
    "the plan's web, three edges a node": 18.9,
    "counts of joins": 10.1,
    "states": 1.0,
    "agenda, while dispatched or running": 99.3,
    "message, while waiting (a unit has one)": 1026.6,
}


def table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def name(seconds: float) -> str:
    """How long a node takes, in words."""
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1e3:g} ms"


def validation(prices: Prices) -> str:
    """The model of this machine against what was measured on it."""
    rows = []
    for (flow, mode), ratio in MEASURED.items():
        real = ratio * CEILING
        engine = Engine(mode=mode)
        cluster = Cluster(workers=1, machine=2)
        cells = []
        for loopback in (prices.loopback, prices.loopback_awake):
            got = simulate(prices.changed(loopback=loopback), engine, cluster, FLOWS[flow]).rate
            cells += [f"{got:,.0f}", f"{got / real - 1:+.0%}"]
        rows.append([flow, mode, ratio, f"{real:,.0f}", *cells])
    titles = ["flow", "mode", "÷ ceiling", "measured"]
    return table([*titles, "model, cores asleep", "error", "model, cores awake", "error"], rows)


def copies(wait: float, lease: float = 5.0) -> int:
    """Messages of a node that waits in a queue with a backlog: sweep.lua and ``PATIENCE``."""
    count, late, due = 1, 0, lease
    while due <= wait:
        late += 1
        due += lease * 2 ** min(late, 6)
        count += late >= 4
    return count


def backlog(_: Prices) -> str:
    """Messages published for nodes that wait."""
    waits = (60, 100, 600, 3_600, 6 * 3_600)
    rows = [["messages of a node", *(copies(wait) for wait in waits)]]
    rows.append(
        ["queue, if 10⁶ nodes wait so long", *(f"{copies(wait) * 1.027:.1f} GB" for wait in waits)]
    )
    return table(["waits for", *(f"{wait:,} s" for wait in waits)], rows)


def memory(_: Prices) -> str:
    """What 10^6 nodes take."""
    rows = [[what, f"{value:,.0f}", f"{value:,.0f} MB"] for what, value in BYTES.items()]
    peak = sum(BYTES.values())
    kept = peak - sum(value for what, value in BYTES.items() if "while" in what)
    rows += [["**all, every node waiting**", f"{peak:,.0f}", f"{peak / 1e3:.1f} GB"]]
    rows += [["**once it has ended**", f"{kept:,.0f}", f"{kept:,.0f} MB"]]
    return table(["what", "bytes a node", "10⁶ nodes"], rows)


def parameters(prices: Prices) -> str:
    """The prices, as the page shows them."""
    rows = prices.rows.items()
    return table(
        ["price", "value", "where it comes from"],
        [
            [key, f"{row['value']:g} {row['unit'].replace('us', 'µs')}", row["source"]]
            for key, row in rows
        ],
    )
