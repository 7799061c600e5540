"""One attempt that is to be made, and one that has been made.

In: nothing. Out: Assignment, Attempt. Not here: making it (execute).
"""

from collections.abc import Callable
from dataclasses import dataclass

from flowcore.engine.emission import Emission
from flowcore.engine.invoke import Stopper
from flowcore.engine.memory import ThreadMemory
from flowcore.engine.upstream import Upstream
from flowcore.plan.plan import Plan
from flowcore.ports.store import Outcome, Ticket
from flowcore.run.record import Failure

__all__ = ["Assignment", "Attempt", "ended"]


@dataclass(slots=True, kw_only=True)
class Assignment:
    """One attempt that is to be made, and what it is made with."""

    run: str
    plan: Plan
    node: int
    attempt: int = 1
    lost: int = 0
    """How many earlier attempts ended with the loss of their worker."""
    before: int = 0
    """How many were made before the run was resumed."""
    upstream: Upstream
    stopper: Stopper
    worker: str = ""
    resumed: bytes | None = None
    """What has ended the node's wait, as the store has it."""
    failure: Failure | None = None
    """Why it has failed already: see ``Claim.failure``."""
    before_emit: Callable[[], object] | None = None
    """Called before the node adds an event of its own to the log."""
    emission: Emission | None = None
    """What it says, once it has said something."""
    memory: ThreadMemory | None = None
    """What it remembers with, once it has."""

    @property
    def chance(self) -> int:
        """Which chance of the node this is: the loss of a worker is no reason for another one."""
        return self.attempt - self.lost

    @property
    def ticket(self) -> Ticket:
        """What the attempt is recorded by."""
        return Ticket(run=self.run, node=self.node, attempt=self.attempt)

    @property
    def name(self) -> str:
        """The node's id."""
        return self.plan.ids[self.node]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A claimed node and how its attempt ended."""

    ticket: Ticket
    plan: Plan
    outcome: Outcome
    upstream: Upstream
    """What it could see."""
    seconds: float = 0.0
    """How long it took."""
    error: BaseException | None = None


def ended(
    work: Assignment,
    outcome: Outcome,
    *,
    seconds: float = 0.0,
    error: BaseException | None = None,
) -> Attempt:
    """Say how an attempt has ended."""
    return Attempt(
        ticket=work.ticket,
        plan=work.plan,
        outcome=outcome,
        upstream=work.upstream,
        seconds=seconds,
        error=error,
    )
