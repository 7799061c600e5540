"""Units: several nodes of one run that travel together, or run in one worker.

In: nothing. Out: the records in which engine and run store speak of them. See ``RunStore``.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = [
    "AHEAD",
    "BatchSize",
    "Bundle",
    "CompletedNode",
    "Granularity",
    "UnitClaim",
    "UnitProgress",
    "UnitRef",
]

#: Nodes of which ``UnitProgress.ahead`` is told where they stand.
AHEAD = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRef:
    """The right to several nodes of one run at once; its name is never used again."""

    run: str
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSize:
    """Batch size of nodes of one policy."""

    cost: float
    """Seconds that one of them is thought to take."""
    least: int = 1
    """Nodes in one message, as soon as there are that many."""
    most: int = 1
    """Nodes in one message, however many there are."""
    here: bool = False
    """Whether the unit that makes one ready may keep it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granularity:
    """Division of nodes that become ready between a unit and the queue."""

    packs: Mapping[int, BatchSize] = field(default_factory=dict)
    """By policy number; nodes of other policies travel one in a message."""
    budget: float = 0.0
    """Seconds of work that the unit keeps."""
    share: int = 1
    """A message takes at most one part in so many of the nodes that are ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Several nodes that travel in one message: a unit that nobody has adopted yet."""

    unit: str
    node: int
    """The first of them."""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitClaim:
    """The right to run the nodes of a bundle, their first attempts, until the lease ends."""

    nodes: tuple[int, ...]
    first: bool
    """Whether this started the run."""
    resumed: bool = False
    """As in ``Transition``."""


@dataclass(frozen=True, slots=True)
class CompletedNode:
    """A first attempt that has succeeded, in a unit."""

    node: int
    output: bytes
    took: int
    """Milliseconds from its start to its end."""
    ago: int
    """Milliseconds from its end until now."""
    told: bool = False
    """Whether its start is in the log already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitProgress:
    """Progress of a unit since its last report, and its next nodes."""

    done: Sequence[CompletedNode] = ()
    """In the order in which they ran: a node that ran before the store knew it to be ready
    stands behind those that made it so."""
    current: int | None = None
    """A node that is being run: it stays with the unit, and its start is told."""
    since: int = 0
    """Milliseconds that it has been running for."""
    age: int | None = None
    """Milliseconds since the worker has had the unit: what is said of times counts from there.
    None: it counts from when this is heard."""
    give_back: bool = False
    """The unit ends: what it has not begun goes back to the queue."""
    keep: Collection[int] = ()
    """Nodes that stay with the unit all the same: it has run them, and will record them itself."""
    proxy: bool = False
    """The parent of the unit's process says it, as far as it knows: should ``current`` not be open
    any more, the unit has gone on, and the parent is not heard."""
    ahead: int | None = None
    """A node from which on to say where nodes stand."""
