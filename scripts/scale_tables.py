"""The tables of docs/scale.md that need no sweep: validation, long queues, memory, prices.

In: the prices. Out: Markdown. Not here: sweeps and figures (scale_report).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from scripts.scale_model import simulate
from scripts.scale_parts import Cluster, Engine, Load, Mode, Prices, fan

__all__ = ["backlog", "copies", "memory", "name", "parameters", "table", "validation"]

#: Nodes per second of this machine, on the day of the prices, and its ratios to the ceiling in
#: docs/benchmarks.md: (flow, mode) -> (nodes per second over TCP, ratio).
MEASURED: dict[tuple[str, Mode], tuple[float, float]] = {
    ("fan1000", "message"): (813.7, 0.75),
    ("chain1000", "message"): (670.7, 0.72),
    ("layered20x50", "message"): (737.5, 0.63),
    ("fan1000", "work first"): (773.4, 0.82),
    ("chain1000", "work first"): (3663.0, 3.1),
    ("layered20x50", "work first"): (679.3, 0.66),
}
CEILING = 987.7
FLOWS = {
    "fan1000": fan(1000),
    "chain1000": Load(layers=[1] * 1000, joins=False),
    "layered20x50": Load(layers=[50] * 20),
}

#: Bytes per node by what holds them, of scripts/scale_measure.py.
BYTES = {
    "events (two a node)": 108.6,
    "outputs (of one byte)": 40.0,
    "the plan's web, three edges a node": 18.9,
    "counts of joins": 10.1,
    "states": 1.0,
    "agenda, while dispatched or running": 99.3,
    "message, while waiting": 1031.9,
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
    for (flow, mode), (real, ratio) in MEASURED.items():
        engine = Engine(mode=mode)
        cluster = Cluster(workers=1, machine=2)
        cells = []
        for loopback in (prices.loopback, prices.loopback_awake):
            got = simulate(prices.changed(loopback=loopback), engine, cluster, FLOWS[flow]).rate
            cells += [f"{got:,.0f}", f"{got / real - 1:+.0%}"]
        rows.append([flow, mode, f"{real:,.0f}", f"{real / CEILING:.2f}", ratio, *cells])
    titles = ["flow", "mode", "measured", "÷ ceiling that day", "÷ ceiling, benchmarks.md"]
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
        ["queue, if 10⁶ nodes wait so long", *(f"{copies(wait) * 1.032:.1f} GB" for wait in waits)]
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
