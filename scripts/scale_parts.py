"""What the scale model is made of: prices, servers, and descriptions of what is to be simulated.

In: the table scripts/scale_parameters.toml. Out: frozen descriptions, first-come-first-served
servers. Not here: what happens when (scale_model).
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapreplace
from pathlib import Path
from statistics import quantiles
from typing import Any, Literal

__all__ = [
    "Cluster",
    "Cores",
    "Engine",
    "Load",
    "Prices",
    "Result",
    "Run",
    "Server",
    "chains",
    "fan",
    "layered",
]

Mode = Literal["message", "units"]

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


class Prices:
    """Seconds and rates by name, each with the place it comes from."""

    def __init__(self, table: Mapping[str, Mapping[str, Any]]) -> None:
        """Read rows of ``{value, unit, source}``."""
        self.rows = table
        self._values = {name: row["value"] * _UNITS[row["unit"]] for name, row in table.items()}

    @classmethod
    def load(cls, path: Path | None = None) -> "Prices":
        """Read the table in scripts/scale_parameters.toml."""
        path = path or Path(__file__).with_name("scale_parameters.toml")
        return cls(tomllib.loads(path.read_text("utf-8")))

    def changed(self, **values: float) -> "Prices":
        """The same prices but for some, in seconds."""
        rows = {name: dict(row) for name, row in self.rows.items()}
        for name, value in values.items():
            rows[name] |= {"value": value, "unit": "s"}
        return Prices(rows)

    def __getattr__(self, name: str) -> float:
        try:
            value: float = self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(name) from None
        return value


class Cores:
    """The cores of one machine; a process takes the one that is free first."""

    def __init__(self, count: int) -> None:
        """All are free."""
        self._free = [0.0] * count

    def take(self, earliest: float, work: float) -> float:
        """Work on one core; return when it starts."""
        start = max(earliest, self._free[0])
        heapreplace(self._free, start + work)
        return start


class Server:
    """One thread that serves in order of arrival. Calls must come in the order of time."""

    __slots__ = ("_cores", "_wake", "busy", "calls", "free", "waits")

    def __init__(
        self, cores: Cores | None = None, *, wake: float = 0.0, watch: bool = False
    ) -> None:
        """Idle; without ``cores`` it has one of its own.

        Args:
            cores: Shared with other processes of its machine.
            wake: Added to a call that finds it idle: it sleeps in the kernel until then.
            watch: Keep (arrival, seconds in the system) of each call.
        """
        self._cores, self._wake = cores, wake
        self.free = self.busy = 0.0
        self.calls = 0
        self.waits: list[tuple[float, float]] | None = [] if watch else None

    def serve(self, now: float, work: float, *, hold: float = 0.0) -> float:
        """Serve a call; return when it ends.

        Args:
            now: When it arrives.
            work: Seconds of CPU.
            hold: Seconds after that in which the thread waits for somebody else.
        """
        if now >= self.free:
            start = now
            work += self._wake
        else:
            start = self.free
        if self._cores is not None:
            start = self._cores.take(start, work)
        self.free = start + work + hold
        self.busy += work
        self.calls += 1
        if self.waits is not None:
            self.waits.append((now, self.free - now))
        return self.free

    def wait(self, now: float) -> float:
        """Seconds a call that arrives now would wait."""
        return max(0.0, self.free - now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """How the engine is built: what is to be compared."""

    mode: Mode = "message"
    grain: float = 0.005
    """Seconds of ready work a worker keeps (``units``); a longer node travels alone."""
    plenty: float = 0.05
    """Seconds of work in one message where there is plenty for everybody."""
    most: int = 5000
    """Nodes in one message at most."""
    flush_most: int = 500
    """Nodes recorded by one script call at most."""
    flush_after: float = 0.025
    """Seconds after which a unit records what it has done."""
    hand_back: float = 0.25
    """Seconds after which a message publishes what is ready."""
    poll: float = 0.2
    """Seconds between two looks of a janitor at a shard; 0 for no housekeeping at all."""
    polls_per_shard: float | None = None
    """All janitors together look so often at a shard; the interval grows with the workers."""
    heartbeat: float = 1.5
    jitter: float = 0.0
    """Share of the heartbeat interval by which each is moved at random."""
    per_process: bool = True
    """A heartbeat from each child; else one from the parent for all its children."""
    shared_joins: bool = False
    """Nodes that wait for the same predecessors share one count."""
    sliced: bool = False
    """Ready nodes are published a thousand at a time, not all in one pipeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What it runs on."""

    workers: int
    slots: int = 2
    shards: int = 1
    brokers: int = 0
    """Redis servers that carry messages; 0: each shard carries those of its runs."""
    machine: int | None = None
    """Everything on one machine with so many cores, as on the bench; else each has its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Runs of one shape; each is a list of layers, a layer waits for all of the one before."""

    layers: Sequence[int]
    seconds: float = 0.0
    """What a node takes."""
    runs: int = 1
    """Runs at the same time."""
    again: bool = False
    """A run that has ended is followed by another: a closed system."""
    joins: bool = True
    """Whether a node of the next layer counts its predecessors."""


def chains(slots: int, seconds: float = 0.0, *, length: int = 100, per_slot: int = 2) -> Load:
    """Many runs of one chain each, so that no slot is ever without work."""
    return Load(
        layers=[1] * length, seconds=seconds, runs=slots * per_slot, again=True, joins=False
    )


def layered(slots: int, seconds: float = 0.0, *, depth: int = 20, width: int = 50) -> Load:
    """Many runs of ``depth`` layers of ``width`` nodes that need all of the layer before."""
    return Load(
        layers=[width] * depth, seconds=seconds, runs=max(2, 3 * slots // width), again=True
    )


def fan(nodes: int, seconds: float = 0.0) -> Load:
    """One run: one node, many in parallel, one that joins them."""
    return Load(layers=[1, nodes - 2, 1], seconds=seconds)


@dataclass(slots=True, kw_only=True)
class Run:
    """One run under way: it counts layers, not nodes."""

    load: Load
    shard: int
    at: int = 0
    left: int = 0
    begun: bool = False

    @property
    def width(self) -> int:
        """Nodes of the layer that is being run."""
        return self.load.layers[self.at]

    def settle(self, count: int) -> tuple[int, int]:
        """Count down; return how many became ready, and how many joins one node counts."""
        layers = self.load.layers
        after = layers[self.at + 1] if self.at + 1 < len(layers) else 0
        joins = after if self.load.joins and layers[self.at] > 1 else 0
        self.left -= count
        if self.left:
            return 0, joins
        self.at += 1
        self.left = after
        return after, joins


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came out."""

    nodes: int
    seconds: float
    """Of the window that was looked at: after warming up, or the whole run."""
    messages: int
    shards: Sequence[float]
    """How busy each was, 0 to 1."""
    brokers: Sequence[float]
    background: float
    """Share of the first shard's time that went to janitors, notes and heartbeats."""
    slots: float
    """Share of the slots' time in which they ran nodes."""
    in_flight: float
    """Messages between pop and acknowledgement, on average."""
    residence: float
    """Seconds between pop and acknowledgement, on average."""
    calls: Sequence[tuple[float, float]] = field(repr=False)
    """Of the first shard: (when, seconds in the system) of each call."""

    @property
    def rate(self) -> float:
        """Nodes per second."""
        return self.nodes / self.seconds if self.seconds else 0.0

    def latency(self, percent: int) -> float:
        """A percentile of the time a call spends at the first shard, in seconds."""
        waits = [wait for _, wait in self.calls]
        return quantiles(waits, n=100)[percent - 1] if len(waits) > 1 else 0.0
