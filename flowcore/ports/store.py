"""The run store: the truth about every run.

In: commands in the engine's words. Out: what became of them. Not here: any vendor.

Every write is one atomic, idempotent step on the store's own clock. A node's state moves
``pending -> (held ->) dispatched -> running -> succeeded | failed | skipped | cancelled``, with
``retrying`` between two attempts; nothing else may move it. The number of an attempt is its
fencing token: each claim raises it, and a write that names an older one is refused.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

from flowcore.plan.plan import Plan
from flowcore.ports.outcome import Outcome, Suspension
from flowcore.ports.reader import RunQuery, RunReader
from flowcore.ports.unit import Bundle, Granularity, UnitClaim, UnitProgress, UnitRef
from flowcore.run.event import Event
from flowcore.run.node_event import Note
from flowcore.run.record import Failure, Origin, Parent
from flowcore.run.status import RunState

__all__ = [
    "KEPT_SIGNALS",
    "AppendResult",
    "AttemptRef",
    "Claim",
    "Dispatch",
    "EventLog",
    "NewRun",
    "Outcome",
    "Resumed",
    "RunQuery",
    "RunReader",
    "RunStore",
    "SubmitResult",
    "Suspension",
    "SweepResult",
    "Transition",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run to create."""

    id: str
    plan: str
    """Content hash of a plan that the store already has."""
    input: bytes
    """msgpack of the run's input, or a reference to it (run.reference)."""
    namespace: str = ""
    """Prefix of the queues its messages travel on."""
    priority: int = 5
    """0 to 9; above 5 its nodes go before others', below 5 after them."""
    tags: tuple[str, ...] = ()
    origin: Origin | None = None
    """A run of the same plan; from the node it names on, this one runs what that one ran."""
    parent: Parent | None = None
    """The attempt that starts it: it has to be running, and is woken when this run ends."""
    fresh: bool = False
    """Whether the id was drawn for this run, so that none can have it already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRef:
    """One attempt of one node: names it, and is its fencing token."""

    run: str
    node: int
    attempt: int
    turn: int | None = 0
    """Number of claims of the attempt before this one: after a wait, and for a decision on its
    failure, it is claimed anew, and reports of an earlier claim are refused. None: unknown, as to a
    process that has seen another one die; then any turn counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """Nodes whose messages the caller must now publish.

    The intent is already recorded: if the caller dies, a janitor gets the same ones back.
    """

    run: str
    plan: str
    flow: str
    namespace: str
    priority: int
    nodes: tuple[tuple[int, int], ...] = ()
    """(node, attempt) pairs, one message each."""
    bundles: tuple[Bundle, ...] = ()
    """One message each."""

    @property
    def first(self) -> int:
        """A node of it, which tells its queue."""
        return self.nodes[0][0] if self.nodes else self.bundles[0].node


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitResult:
    """Outcome of submitting a run."""

    created: bool
    """False: a run with this id exists already and was left as it is."""
    state: RunState
    dispatch: Dispatch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to run one attempt, until the lease ends."""

    ticket: AttemptRef
    first: bool
    """Whether this claim started the run."""
    lost: int
    """How many earlier attempts ended with the loss of their worker, since the run was resumed."""
    before: int = 0
    """How many were made before that."""
    outputs: Mapping[int, bytes]
    """Of the predecessors' outputs that were asked for and exist; others may be left out."""
    resumed: bytes | None = None
    """What ended its wait: msgpack of a signal's value, empty when the time was over."""
    failure: Failure | None = None
    """Why this very attempt has failed already: what comes of that is to be decided, without
    calling the node's function."""


#: Signals of one name that a run keeps for nodes which do not wait for them yet.
KEPT_SIGNALS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Consequences of a settled attempt."""

    accepted: bool
    """False: the ticket is old or the node has settled; nothing was written."""
    dispatch: Dispatch | None = None
    finished: RunState | None = None
    """The run's final state, when this write ended the run."""
    unit: str | None = None
    """The unit that now owns ``kept``."""
    kept: tuple[int, ...] = ()
    """All nodes that the unit owns and that have not settled."""
    parent: Parent | None = None
    """The node that now has its turn, because the run that it waited for has ended."""
    stopping: bool = False
    """The run is being stopped: nothing more is to be begun."""
    paused: bool = False
    """The run is paused: nothing more is to be begun, and nothing that is running ended."""
    resumed: bool = False
    """The run has ended once: a node that is not ready yet may have had attempts, so only what
    the store gives to a unit is a first attempt."""
    inside: tuple[str, ...] = ()
    """Of a signal that no node of its run waits for: the runs inside it where one does. It was not
    kept, and is for them."""
    refused: Literal["", "nobody", "full", "answered"] = ""
    """Why a signal was not taken: nobody waits for it, too many of its name are kept, the question
    has its answer. Empty also when its run has ended."""
    answer: bytes = b""
    """The answer that a question has already; empty if it has none but has ended."""
    ahead: str = ""
    """States of ``AHEAD`` nodes from ``UnitProgress.ahead`` on, a letter each (``NodeState``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """Outcome of resuming a run."""

    resumed: bool
    """False: it is neither paused, nor failed, nor cancelled; it was left as it is."""
    state: RunState
    dispatch: Dispatch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """Overdue work that a janitor found."""

    dispatches: tuple[Dispatch, ...] = ()
    """To publish: retries that are due, nodes whose worker was lost."""
    overdue: tuple[tuple[Dispatch, int], ...] = ()
    """Dispatched but not claimed in time, and how many times already: publish again unless the
    queue still holds a backlog that may contain the first message."""
    finished: Mapping[str, RunState] = field(default_factory=dict)
    next_due: float | None = None
    """Seconds until the next entry of the agenda is due."""


class RunStore(Protocol):
    """Keeps plans, runs and the agenda of what is due.

    Implementations must make every method atomic, and safe to repeat with the same
    arguments after a lost answer. They raise ``StoreUnreachableError`` and nothing vendor's own.
    """

    def put_plan(self, plan: Plan) -> None:
        """Keep a plan under its hash; a plan in use is never dropped.

        Until a run uses it, other processes need not find it.
        """
        ...

    def get_plan(self, digest: str) -> Plan:
        """Return the plan; ``KeyError`` when the store has none of this hash."""
        ...

    def submit(self, run: NewRun, plan: Plan, *, grain: Granularity | None = None) -> SubmitResult:
        """Create the run and record the intent to dispatch its starts, once per id.

        With an origin that names a node, what the origin has done and what is not after that node
        is taken over, outputs and all. With a parent, which is paused, the run is paused, too.

        Raises:
            KeyError: The store has no run of that origin.
            OrphanError: The attempt that is to be its parent is not running (any longer).
        """
        ...

    def claim(
        self, ticket: AttemptRef, *, worker: str, outputs_of: Sequence[int] = ()
    ) -> Claim | None:
        """Take a dispatched node; None when somebody has it, it settled, or the run stopped."""
        ...

    def adopt(self, unit: UnitRef, *, worker: str) -> UnitClaim | None:
        """Take a bundle; None when somebody has it, or the run stopped."""
        ...

    def settle(
        self,
        ticket: AttemptRef,
        outcome: Outcome,
        *,
        unit: str | None = None,
        grain: Granularity | None = None,
    ) -> Transition:
        """Record how an attempt ended and count down every chord the node belongs to.

        In one step: checks the token, records output or failure, decides joins and dead paths,
        stops the run on a failure nobody tolerates, records the intent to dispatch what became
        ready, appends the events, and says whether the run is complete.

        Args:
            ticket: The attempt.
            outcome: How it ended.
            unit: The unit that owns the node, if one does.
            grain: How to share out what becomes ready; without it all of that is dispatched, one
                node in a message. What is kept goes to ``unit``, or to a new one.
        """
        ...

    def flush(
        self, unit: UnitRef, news: UnitProgress, plan: Plan, *, worker: str, grain: Granularity
    ) -> Transition:
        """Record what a unit has done; the same step as ``settle`` for many nodes at once.

        A node may be in ``news.done`` that was not ready so far, if the unit itself has done all
        its predecessors: nobody else could have made it ready. Said twice, it counts once.
        """
        ...

    def renew(self, tickets: Sequence[AttemptRef | UnitRef]) -> Mapping[AttemptRef | UnitRef, bool]:
        """Prolong the leases; return the tickets to stop.

        The value says whether the lease is lost (True: nothing the attempt writes will count) or
        the run is stopping (False).
        """
        ...

    def wake(self, ticket: AttemptRef) -> Transition:
        """End the wait of a node: it is dispatched, as the attempt that it was."""
        ...

    def signal(
        self,
        run: str,
        name: str,
        value: bytes,
        *,
        most: int = KEPT_SIGNALS,
        node: int | None = None,
    ) -> Transition | None:
        """Give a signal to the nodes that wait for it, or keep it for the first that will.

        Those that are kept are a queue: each is taken once, the first first. They are kept for
        nodes of the runs inside, too; runs where a node waits already are named instead.

        Args:
            run: The run's id.
            name: The signal's name.
            value: What goes with it, packed.
            most: How many of a name are kept; 0: it is only for those that wait.
            node: The node whose question this answers: the first answer counts.

        Returns:
            None when the run is unknown; not accepted when it has ended, or for the reason that
            ``refused`` names.
        """
        ...

    def lose(
        self, unit: UnitRef, *, begun: Collection[int] | None = None, worker: str = ""
    ) -> Transition:
        """The process that ran a unit is dead: its lease need not run out.

        Args:
            unit: The unit.
            begun: The nodes that it had begun and not recorded, ready or not: they have had an
                attempt, which is lost. The others have had none. None: nobody knows, so all have.
            worker: The worker of that process.
        """
        ...

    def sweep(self, *, limit: int = 200) -> SweepResult:
        """Deal with what is overdue: unclaimed dispatches, lost leases, due retries, deadlines."""
        ...

    def stop(self, run: str, *, reason: str) -> RunState | None:
        """Cancel a run: queued nodes never start, running ones are told; None when unknown.

        A node that waits for a run that it has started ends with that. A run that does what is to
        be done at its end goes on with it.
        """
        ...

    def pause(self, run: str, *, inside: bool = False) -> RunState | None:
        """Hold a run: no further node starts, running ones go on; the state, None when unknown.

        A run that has ended or is being stopped stays as it is, and ``inside`` also one whose
        parent is not paused.
        """
        ...

    def resume(
        self, run: str, *, grain: Granularity | None = None, parent: Parent | None = None
    ) -> Resumed | None:
        """Let a run go on that is paused, or that has failed or was cancelled; None when unknown.

        Of a run that has ended, what has succeeded is kept (see ``plan.reuse.after_failure``) and
        the rest runs again, with attempts that nobody has had.

        Args:
            run: Its id.
            grain: How to share out what is ready.
            parent: The attempt that wants it to go on, of the node that has started it.

        Raises:
            KeyError: The run has ended and its plan is gone.
            OrphanError: That attempt is not running (any longer).
        """
        ...


class AppendResult(StrEnum):
    """Outcome of appending a node's notes."""

    HEARD = "heard"
    STALE = "stale"
    """The ticket is no longer valid; nothing was written."""
    FULL = "full"
    """The run has said as much as it may; a gap marks where that was."""


class EventLog(Protocol):
    """The ordered events of each run."""

    def append(self, ticket: AttemptRef, notes: Sequence[Note], *, number: int) -> AppendResult:
        """Add what a node has said, in one step and in this order.

        Args:
            ticket: The attempt.
            notes: What it has said.
            number: Which notes of the attempt these are: 1, 2, ... A number that was heard is not
                written again.
        """
        ...

    def read(self, run: str, *, after: int = 0, block: float | None = None) -> Sequence[Event]:
        """Return events with ids above ``after``; wait up to ``block`` seconds for the first."""
        ...

    def last(self, run: str) -> int:
        """Return the id of a run's latest event; 0 when there is none."""
        ...

    def wait(self, run: str, *, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for the run to end; say whether it has."""
        ...
