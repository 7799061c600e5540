"""The flows that are measured: who needs whom, and definitions made of that.

In: a name such as ``fan1000`` or ``layered20x50``, or a Task Bench pattern. Out: a Dag.
Not here: what the nodes do (nodes), how long it should take (ideal).

The patterns are those of E. Slaughter et al., "Task Bench: A Parameterized Benchmark for Evaluating
Parallel Runtime Performance", SC20; their dependences follow its ``core.cc``.
"""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowcore.errors import UsageError

__all__ = ["PATTERNS", "STANDARD", "Dag", "Work", "named", "pattern"]

_NODES = "flowcore.bench.nodes"
_RADIX = 5
_CONNECTED = 0.25
_LARGEST = 100_000
_Needs = tuple[tuple[int, ...], ...]

#: What the throughput is quoted for.
STANDARD = (
    "chain1000",
    "fan1000",
    "fan10000",
    "layered20x50",
    "layered100x100",
    "nshape500",
    "tree1024",
)
#: Task Bench's names of the patterns for which METG is searched.
PATTERNS = ("stencil_1d", "fft", "tree", "random_nearest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The work of each node of a flow."""

    uses: str = f"{_NODES}:noop"
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, function: str, **arguments: Any) -> "Work":
        """Name a function of ``flowcore.bench.nodes`` and its arguments."""
        return cls(uses=f"{_NODES}:{function}", arguments=arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dag:
    """The shape of a flow; predecessors stand before their successors."""

    name: str
    needs: _Needs
    """For each node the nodes it runs after, by index."""

    @property
    def edges(self) -> int:
        """Number of edges."""
        return sum(map(len, self.needs))

    def definition(self, work: Work, *, id: str | None = None) -> dict[str, Any]:
        """Return the tree of a flow in which each node does ``work``."""
        same: dict[str, Any] = {"uses": work.uses}
        if work.arguments:
            same["with"] = dict(work.arguments)
        return {
            "id": id or self.name,
            "nodes": {
                f"v{at}": {**same, "needs": [f"v{source}" for source in before]} if before else same
                for at, before in enumerate(self.needs)
            },
        }


def named(name: str) -> Dag:
    """Return the DAG of a name: a shape and its size.

    Args:
        name: ``chainN``, ``fanN``, ``nshapeN``, ``treeN`` or ``layeredLxW``.

    Raises:
        UsageError: There is no such shape, or it would be empty or too large.
    """
    found = re.fullmatch(r"(chain|fan|nshape|tree)([0-9]{1,6})|(layered)([0-9]+)x([0-9]+)", name)
    if found is None:
        msg = (
            f"no flow to measure is called {name!r}; "
            "use chainN, fanN, nshapeN, treeN or layeredLxW with numbers, such as layered20x50"
        )
        raise UsageError(msg)
    sizes = [int(size) for size in (found[2], found[4], found[5]) if size]
    shape = found[1] or found[3]
    least = 3 if shape == "fan" else 1
    nodes = 2 * sizes[0] if shape == "nshape" else sizes[0] * sizes[-1] ** (len(sizes) - 1)
    if not least <= min(sizes) or nodes > _LARGEST:
        msg = f"{name!r} would have {nodes} nodes; use {least} to {_LARGEST} of them"
        raise UsageError(msg)
    return Dag(name=name, needs=_SHAPES[shape](*sizes))


def _chain(count: int) -> _Needs:
    """One node after the other."""
    return ((), *((at - 1,) for at in range(1, count)))


def _fan(count: int) -> _Needs:
    """One node, many in parallel, one that joins them."""
    middle = range(1, count - 1)
    return ((), *((0,) for _ in middle), tuple(middle))


def _layered(layers: int, width: int) -> _Needs:
    """Each node needs all nodes of the layer before."""
    rows = [tuple(range(start - width, start)) for start in range(width, layers * width, width)]
    return ((),) * width + tuple(row for row in rows for _ in range(width))


def _nshape(count: int) -> _Needs:
    """A ladder of two nodes a rung, joined by the letter N: no series-parallel nesting says it."""
    rungs = ((2 * at - 2,) if side == "a" else (2 * at - 2, 2 * at - 1)
             for at in range(1, count) for side in "ab")  # fmt: skip
    return ((), (), *rungs)


def _tree(count: int) -> _Needs:
    """A binary tree that fans out."""
    return ((), *(((at - 1) // 2,) for at in range(1, count)))


_SHAPES: Mapping[str, Callable[..., _Needs]] = {
    "chain": _chain,
    "fan": _fan,
    "layered": _layered,
    "nshape": _nshape,
    "tree": _tree,
}


def pattern(name: str, *, width: int, steps: int) -> Dag:
    """Return a Task Bench graph.

    Args:
        name: One of ``PATTERNS``.
        width: Points of one timestep; a power of two for ``fft``.
        steps: Timesteps.
    """
    needs: list[tuple[int, ...]] = []
    start, before = 0, 0
    dice = random.Random(1)  # noqa: S311  (the same graph each time)
    for step in range(steps):
        here = min(width, 2**step) if name == "tree" else width
        for point in range(here):
            sources = _DEPENDENCES[name](step, point, width, dice) if step else ()
            needs.append(tuple(start - before + at for at in sources if 0 <= at < before))
        start, before = start + here, here
    return Dag(name=name, needs=tuple(needs))


def _stencil(_step: int, point: int, _width: int, _dice: random.Random) -> tuple[int, ...]:
    return (point - 1, point, point + 1)


def _fft(step: int, point: int, width: int, _dice: random.Random) -> tuple[int, ...]:
    stride = 2 ** ((step - 1) % max(1, (width - 1).bit_length()))
    return (point - stride, point, point + stride)


def _fan_out(_step: int, point: int, _width: int, _dice: random.Random) -> tuple[int, ...]:
    return (point // 2,)


def _near(_step: int, point: int, _width: int, dice: random.Random) -> tuple[int, ...]:
    reach = range(point - _RADIX // 2, point + (_RADIX + 1) // 2)
    return tuple(at for at in reach if dice.random() < _CONNECTED or at == point)


_DEPENDENCES: Mapping[str, Callable[[int, int, int, random.Random], tuple[int, ...]]] = {
    "stencil_1d": _stencil,
    "fft": _fft,
    "tree": _fan_out,
    "random_nearest": _near,
}
