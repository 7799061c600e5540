"""Tasks of agents, and who is there to do them.

In: messages, in msgpack of the protocol's JSON. Out: where each task stands. Not here: any vendor,
or how messages reach an agent.

The store is the truth and a message of the broker only a doorbell. Every write is one atomic step
on the store's own clock, safe to repeat. A task moves ``submitted -> working -> input-required ->
working … -> completed | failed | canceled | rejected``; a move that is not in ``MOVES`` is
refused. Each claim raises the task's token, and a write that names an older one is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from flowcore.agents.message import Json, Task, TaskState, TaskUpdate
from flowcore.ports.listing import Listing

__all__ = [
    "MOVES",
    "AgentDirectory",
    "AgentInstance",
    "NewTask",
    "SendResult",
    "Signer",
    "TaskClaim",
    "TaskLease",
    "TaskStore",
    "TaskWakeup",
    "Verdict",
]

#: What may follow what while an agent has the task; anything may be canceled or fail on its way.
MOVES: Mapping[TaskState, frozenset[TaskState]] = {
    TaskState.SUBMITTED: frozenset(
        {TaskState.WORKING, TaskState.CANCELED, TaskState.REJECTED, TaskState.FAILED}
    ),
    TaskState.WORKING: frozenset(
        {
            TaskState.INPUT_REQUIRED,
            TaskState.COMPLETED,
            TaskState.FAILED,
            TaskState.CANCELED,
            TaskState.REJECTED,
        }
    ),
    TaskState.INPUT_REQUIRED: frozenset({TaskState.WORKING, TaskState.CANCELED, TaskState.FAILED}),
}

Verdict: TypeAlias = Literal["new", "queued", "duplicate", "finished", "unknown", "abandoned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A message for an agent: the first of a task, or a further one."""

    task: str
    agent: str
    counts_as: str
    """A message that counts as the same as an earlier one of the task changes nothing."""
    message: bytes
    """msgpack of the protocol's Message."""
    context: str
    create: bool = True
    """False: only if there is such a task."""
    deadline: float | None = None
    """Seconds from now in which the task has to end."""
    notify: str = ""
    """An instance to tell of its end; with ``*`` behind it, of every event."""
    parent: str = ""
    """A task that waits for this one, and that this one is canceled with."""
    owner: str = ""
    """Whose task it is; empty for those of the project itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult:
    """Outcome of sending a message."""

    verdict: Verdict
    state: TaskState
    ring: bool
    """Whether the agent has to be rung now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLease:
    """The right to write to a task: its fencing token."""

    task: str
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskClaim:
    """A task that is this instance's until its lease ends."""

    hold: TaskLease
    agent: str
    context: str
    messages: tuple[bytes, ...]
    """All that the caller has said, in order, the newest last."""
    emitted: int
    """Events that were told in earlier turns."""
    tries: int
    """Errors so far."""
    again: bool = False
    """This is another try, after an error or a loss: what it makes, it makes anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskWakeup:
    """A task whose agent has to be rung."""

    agent: str
    task: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentInstance:
    """An agent, and one of the processes that host it."""

    card: Json
    instance: str
    seen: float
    """Seconds since it was last heard of."""
    alive: bool
    hung: int = 0
    """Calls that do not come back and keep their places."""
    replaced: int = 0
    """Processes of this worker that had to be replaced, because of one agent or another."""

    @property
    def name(self) -> str:
        """The agent's name."""
        name: str = self.card["name"]
        return name


class Signer(Protocol):
    """Signs what goes over the broker."""

    def sign(self, data: bytes) -> bytes:
        """Return the signature of some bytes."""
        ...

    def verify(self, data: bytes, signature: object) -> bool:
        """Say whether it is right."""
        ...


class TaskStore(Protocol):
    """Keeps tasks, their inboxes and their events."""

    def tell(self, new: NewTask) -> SendResult:
        """Put a message into a task's inbox; one that was put there before changes nothing."""
        ...

    def claim(self, task: str, *, instance: str) -> TaskClaim | None:
        """Take a task that has something to do and is nobody's; None otherwise."""
        ...

    def renew(self, instance: str, holds: Sequence[TaskLease]) -> Sequence[TaskLease]:
        """Prolong leases; return those that are lost, whose work has to stop."""
        ...

    def emit(self, hold: TaskLease, number: int, kind: str, body: bytes) -> bool:
        """Append an event; one whose number was told before changes nothing.

        Args:
            hold: The right to do so.
            number: 1, 2, 3 …, counted over all turns of the task.
            kind: ``status``, ``artifact`` (which replaces one of its id), ``append`` (to an
                artifact), or ``withdraw`` (an artifact of an earlier try).
            body: msgpack of a Message or an Artifact.

        Returns:
            False when the hold is lost.
        """
        ...

    def settle(self, hold: TaskLease, state: TaskState, body: bytes = b"") -> Literal[0, 1, 2]:
        """End a turn; 0 when the hold is lost or the move illegal, 2 if another message waits."""
        ...

    def retry(self, hold: TaskLease, *, delay: float, failed: bool) -> bool:
        """Give a task back for some seconds; ``failed`` counts as a try."""
        ...

    def lose(self, hold: TaskLease) -> bool:
        """Have a task taken over at once: the process that had it is dead."""
        ...

    def wake(self, task: str) -> TaskWakeup | None:
        """End the wait of a task that was given back."""
        ...

    def cancel(self, task: str, body: bytes = b"") -> SendResult:
        """End a task as canceled, and what it waits for.

        Whoever works on them is told, and can write no more.
        """
        ...

    def sweep(self, *, limit: int = 100) -> Sequence[TaskWakeup]:
        """Take over from the dead, end what is late, forget what is old; return whom to ring."""
        ...

    def get(self, task: str) -> Task | None:
        """Return a task; None when unknown."""
        ...

    def updates(self, task: str, *, after: int = 0, wait: float = 0.0) -> Sequence[TaskUpdate]:
        """Return a task's events after one, waiting for some seconds if there are none."""
        ...

    def dead(self, *, limit: int = 50) -> Listing[Task]:
        """Return tasks that were given up because their workers died, latest first."""
        ...

    def requeue(self, task: str) -> TaskWakeup | None:
        """Try a dead letter again; None when it is none."""
        ...


class AgentDirectory(Protocol):
    """Who is there."""

    def post(
        self, card: Json, *, instance: str, keep: float, hung: int = 0, replaced: int = 0
    ) -> None:
        """Write or renew the card of an agent as one process hosts it, for some seconds."""
        ...

    def leave(self, name: str, instance: str) -> None:
        """Take it down."""
        ...

    def agents(self) -> Listing[AgentInstance]:
        """Return all notes, by name; those of the dead for an hour."""
        ...
