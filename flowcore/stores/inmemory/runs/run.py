"""Records of the in-memory store.

In: nothing. Out: mutable records that only this package touches, under one lock.
Not here: moving them (step), showing them (views).

Times are whole milliseconds, as on Redis, so that both stores round alike.
"""

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from flowcore.plan.plan import Plan
from flowcore.ports.store import AttemptRef, NewRun
from flowcore.ports.unit import UnitRef
from flowcore.run.event import Event
from flowcore.run.record import Failure, Parent
from flowcore.run.status import NodeState, RunState

__all__ = [
    "DEADLINE",
    "FINISH",
    "GIVE_UP",
    "GO_ON",
    "PLAN_GRACE",
    "RETENTION",
    "Entry",
    "StoreData",
    "StoredRun",
    "StoredUnit",
]

#: What an agenda entry is about, when it is not a node.
DEADLINE = "T"
RETENTION = "R"
GIVE_UP = "K"
GO_ON = "U"
FINISH = "F"

#: A plan outlives the last run that was pinned to it by this much, so that readers still find it.
PLAN_GRACE = 3_600_000

Entry = tuple[str, str]
"""A run, and one of its nodes (as a number), a unit, or one of the letters above."""


@dataclass(slots=True)
class StoredUnit:
    """Nodes that travel or run together."""

    nodes: set[int]
    adopted: bool
    told: int | None = None
    """The node that it was last said to have started."""
    since: int = 0
    """When a worker has taken it."""


@dataclass(slots=True, kw_only=True)
class StoredRun:
    """One run."""

    new: NewRun
    plan: Plan
    created: int
    started: int | None = None
    finished: int | None = None
    state: RunState = RunState.PENDING
    stop: str | None = None
    """Why somebody cancelled the run."""
    cause: str | None = None
    """The node (or ``T``) whose failure decided the run."""
    nodes: list[NodeState]
    left: int
    """Nodes that have not settled."""
    active: int = 0
    """Nodes that hold a slot of ``max_parallel``, dispatched or running; else not counted."""
    attempts: Counter[int] = field(default_factory=Counter)
    lost: Counter[int] = field(default_factory=Counter)
    base: Counter[int] = field(default_factory=Counter)
    """Attempts before the run was resumed."""
    resumes: int = 0
    dead: dict[int, frozenset[int]] = field(default_factory=dict)
    """Successors whose edge does not hold, by node."""
    late: Counter[int | str] = field(default_factory=Counter)
    joins: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """Per open join: how many predecessors have settled, succeeded and failed on live edges."""
    held: deque[int] = field(default_factory=deque)
    units: dict[str, "StoredUnit"] = field(default_factory=dict)
    said: int = 0
    """Bytes of what its nodes have said."""
    heard: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By node: attempt and number of the latest notes."""
    bundled: int = 0
    """How many units have been made for the queue: their names count on."""
    children: dict[str, int] = field(default_factory=dict)
    """The runs that nodes have started, and which node."""
    open_children: set[str] = field(default_factory=set)
    """Those of them that have not ended."""
    parent: Parent | None = None
    """The attempt that started it, or that last let it go on."""
    closing: bool = False
    """Whether its epilogue has had its turn, or has it."""
    spared: int = 0
    """How many nodes may still fail without any consequence."""
    outputs: dict[int, bytes] = field(default_factory=dict)
    waits: dict[int, str | None] = field(default_factory=dict)
    """By node that wants to know what ends its wait: the signal, or None for a time."""
    awaited: dict[int, str] = field(default_factory=dict)
    """By node that waits for a run that it has started: that run."""
    told: set[int] = field(default_factory=set)
    """Nodes that run while a run has ended that they have started."""
    signals: dict[str, deque[bytes]] = field(default_factory=dict)
    """Signals that nobody has taken, by name, the first first."""
    last: int = 0
    """The latest end of a node in the log: what is told after it has not begun before it."""
    answers: dict[int, bytes] = field(default_factory=dict)
    """Answers to nodes that have not asked yet."""
    resumed: dict[int, bytes] = field(default_factory=dict)
    turns: Counter[int] = field(default_factory=Counter)
    """By node: how often a turn of it has ended without its attempt."""
    undecided: Counter[int] = field(default_factory=Counter)
    """By node whose attempt has failed: how many of those who were to decide were lost."""
    ran_ahead: bool = False
    """True if a unit was lost that had begun a node which was not ready."""
    deferred: dict[int, Failure] = field(default_factory=dict)
    """By node whose attempt has failed: why, until somebody has decided what comes of that."""
    failures: dict[str, Failure] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    @property
    def repeats(self) -> bool:
        """True if a node that is not ready may have had attempts."""
        return self.resumes > 0 or self.ran_ahead

    @property
    def accepts_work(self) -> bool:
        """True if nodes may still be claimed."""
        return self.state in {RunState.PENDING, RunState.RUNNING}

    @property
    def is_paused(self) -> bool:
        """True if what becomes ready is held."""
        return self.state is RunState.PAUSED

    def has(self, ticket: AttemptRef | UnitRef) -> bool:
        """Return whether a lease is what its ticket says."""
        if isinstance(ticket, UnitRef):
            return ticket.unit in self.units and self.units[ticket.unit].adopted
        return self.hears(ticket)

    def waits_inside(self, node: int) -> bool:
        """Return whether a node waits for a run that it has started and that has not ended."""
        return (
            self.nodes[node] is NodeState.WAITING
            and node in self.waits
            and self.awaited.get(node) in self.open_children
        )

    def keeps_slot(self, node: int) -> bool:
        """Return whether a node that waits keeps its slot of ``max_parallel``."""
        return node in self.waits and (node in self.awaited or self.plan.scope == "map")

    def waits_as(self, ticket: AttemptRef) -> bool:
        """Return whether this very attempt waits."""
        return (
            0 <= ticket.node < len(self.nodes)
            and self.nodes[ticket.node] is NodeState.WAITING
            and self.attempts[ticket.node] + 1 == ticket.attempt
        )

    def hears(self, ticket: AttemptRef) -> bool:
        """Return whether this turn of this attempt is the one that is running."""
        turn = self.turns[ticket.node] if ticket.turn is None else ticket.turn
        return self.holds(ticket.node, ticket.attempt) and self.turns[ticket.node] == turn

    def holds(self, node: int, attempt: int) -> bool:
        """Return whether this attempt is the one that is running."""
        return (
            0 <= node < len(self.nodes)
            and self.nodes[node] is NodeState.RUNNING
            and self.attempts[node] == attempt
        )


@dataclass(slots=True, kw_only=True)
class StoreData:
    """Everything one store keeps; its terms are in milliseconds."""

    lease: int
    dispatch_lease: int
    retention: int
    max_lost: int
    plans: dict[str, Plan] = field(default_factory=dict)
    plan_users: Counter[str] = field(default_factory=Counter)
    plan_expiry: dict[str, int] = field(default_factory=dict)
    runs: dict[str, StoredRun] = field(default_factory=dict)
    agenda: dict[Entry, int] = field(default_factory=dict)
    """When somebody must look at an entry."""
    dead: dict[tuple[str, int], int] = field(default_factory=dict)
    """Dead letters: when a node of a run was given up because its workers died."""

    def due(self, now: int) -> Iterator[Entry]:
        """Entries that are due, in the order in which a Redis sorted set gives them."""
        overdue = [
            (at, f"{run}|{what}".encode(), (run, what))
            for (run, what), at in self.agenda.items()
            if at <= now
        ]
        return (entry for _, _, entry in sorted(overdue))

    def may_start(self, parent: Parent) -> bool:
        """Return whether an attempt may start a run: it is the one that is running."""
        run = self.runs.get(parent.run)
        return (
            run is not None
            and (run.accepts_work or run.is_paused)
            and run.holds(parent.node, parent.attempt)
        )

    def is_wanted(self, run: StoredRun) -> bool:
        """Return whether a run is kept for one that it is inside of."""
        over = self.runs.get(run.parent.run) if run.parent else None
        return over is not None and (not over.state.is_terminal or self.is_wanted(over))

    def use_plan(self, plan: Plan) -> None:
        """One more run is pinned to a plan."""
        self.plans.setdefault(plan.hash, plan)
        self.plan_expiry.pop(plan.hash, None)
        self.plan_users[plan.hash] += 1

    def bury(self, run: str) -> None:
        """Forget which nodes of a run are dead letters."""
        for letter in [letter for letter in self.dead if letter[0] == run]:
            del self.dead[letter]

    def forget_plans(self, now: int) -> None:
        """Drop plans whose time has come, as Redis does by itself."""
        for digest in [digest for digest, at in self.plan_expiry.items() if at <= now]:
            del self.plan_expiry[digest]
            del self.plans[digest]
