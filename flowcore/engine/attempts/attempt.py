"""One attempt that is to be made, and one that has been made.

In: nothing. Out: AttemptContext, AttemptResult. Not here: making it (worker.executor).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flowcore.engine.attempts.event_emitter import EventBuffer
from flowcore.engine.attempts.invocation import CancelHandle
from flowcore.engine.attempts.upstream import Upstream
from flowcore.engine.memory.thread import ThreadMemory
from flowcore.engine.values.redaction import Redactor
from flowcore.nodes.credentials import mask_text
from flowcore.plan.plan import Plan
from flowcore.ports.secrets import SecretSource
from flowcore.ports.store import AttemptRef, Outcome
from flowcore.run.record import Failure

__all__ = ["AttemptContext", "AttemptResult", "NodeTraceback", "ended", "shown_error"]


@dataclass(slots=True, kw_only=True)
class AttemptContext:
    """One attempt that is to be made, and what it is made with."""

    run: str
    plan: Plan
    node: int
    attempt: int = 1
    turn: int | None = 0
    """Which turn of the attempt this is: see ``AttemptRef``."""
    lost: int = 0
    """How many earlier attempts ended with the loss of their worker."""
    before: int = 0
    """How many were made before the run was resumed."""
    upstream: Upstream
    stopper: CancelHandle
    worker: str = ""
    resumed: bytes | None = None
    """What has ended the node's wait, as the store has it."""
    failure: Failure | None = None
    """Why it has failed already: see ``Claim.failure``."""
    fallen: bool = False
    """Whether a fallback was called."""
    before_emit: Callable[[], object] | None = None
    """Called before the node adds an event of its own to the log."""
    emission: EventBuffer | None = None
    """What it says, once it has said something."""
    memory: ThreadMemory | None = None
    """What it remembers with, once it has."""
    secrets: SecretSource | None = None
    """Where it reads secrets."""
    redactor: Redactor | None = None
    """Hides those that it has read, in all that leaves it."""
    held: str = ""
    """The end of its tokens so far, which may be the beginning of a secret."""

    @property
    def chance(self) -> int:
        """Which chance of the node this is: the loss of a worker is no reason for another one."""
        return self.attempt - self.lost

    @property
    def ticket(self) -> AttemptRef:
        """Reference by which the attempt is recorded."""
        return AttemptRef(run=self.run, node=self.node, attempt=self.attempt, turn=self.turn)

    @property
    def name(self) -> str:
        """The node's id."""
        return self.plan.ids[self.node]

    def hidden(self, value: Any, *, what: str) -> Any:
        """A value that is to leave the attempt, without the secrets that it has read.

        Args:
            value: Plain data; ``UnsupportedValueError`` if it is none.
            what: How an error names it.
        """
        return value if self.redactor is None else self.redactor.value(value, what=what)

    def hidden_text(self, text: str) -> str:
        """Words that are to leave the attempt, likewise."""
        return text if self.redactor is None else self.redactor.words(text)

    def split(self, text: str) -> tuple[str, str]:
        """Hide them in a text that goes on; its end, which may begin one, is kept apart."""
        return (text, "") if self.redactor is None else self.redactor.split(text)

    def hidden_error(self, text: str) -> str:
        """Words of an error, also without what looks like a credential in a URL."""
        return mask_text(self.hidden_text(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """A claimed node and how its attempt ended."""

    ticket: AttemptRef
    plan: Plan
    outcome: Outcome
    upstream: Upstream
    """What it could see."""
    seconds: float = 0.0
    """How long it took."""
    error: BaseException | None = None


def ended(
    work: AttemptContext,
    outcome: Outcome,
    *,
    seconds: float = 0.0,
    error: BaseException | None = None,
) -> AttemptResult:
    """Say how an attempt has ended."""
    return AttemptResult(
        ticket=work.ticket,
        plan=work.plan,
        outcome=outcome,
        upstream=work.upstream,
        seconds=seconds,
        error=error,
    )


class NodeTraceback(Exception):  # noqa: N818  (stands for an error, and is none of its own)
    """The traceback of a node's error as text, in its place."""


def shown_error(attempt: AttemptResult) -> BaseException | None:
    """Return what stands for the error of an attempt where others show it with its traceback.

    Never the error itself: it may hold secrets, and whoever asks it for its words may be kept for
    ever, or get what is not text.
    """
    failure = attempt.outcome.failure
    if attempt.error is None or failure is None:
        return None
    return NodeTraceback((failure.traceback or failure.message).rstrip())
