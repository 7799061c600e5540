"""Outcome of an attempt of a node, and suspension of a node that waits.

In: nothing. Out: Outcome, Suspension. Not here: recording them (store).
"""

from dataclasses import dataclass
from typing import Any, Literal

from flowcore.run.record import Failure

__all__ = ["Outcome", "Suspension"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """Events that a node waits for, without a worker; the first that comes wakes it."""

    seconds: float | None = None
    until: float | None = None
    """Unix seconds, on the store's clock."""
    signal: str | None = None
    child: str | None = None
    """The id of a run that this node has started; a node that waits for it waits for no more."""
    reason: str = ""
    """For people."""
    resumes: bool = True
    """Whether the node wants to know what ended its wait; otherwise it just has its turn again."""

    def about(self) -> dict[str, Any]:
        """Return the data of its event; the longest wait for a limit is not part of it."""
        words = {
            "reason": self.reason,
            "signal": self.signal,
            "until": self.until,
            "seconds": self.seconds if self.resumes else None,
            "child": self.child,
        }
        return {key: value for key, value in words.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Outcome of one attempt."""

    kind: Literal[
        "succeeded", "failed", "skipped", "retry", "waiting", "cancelled", "lost", "deferred"
    ]
    """``skipped``: the node's own condition does not hold. ``lost``: the process that ran it is
    known to be dead, so its lease need not run out. ``deferred``: the attempt has failed, and its
    worker cannot decide what comes of that: it is dispatched again, as the attempt that it was, and
    its claim brings the ``failure``."""
    output: bytes | None = None
    """msgpack, or a reference to it (run.reference); a store keeps what it is given."""
    failure: Failure | None = None
    delay: float = 0.0
    """Seconds until the next attempt of a ``retry``."""
    dead: tuple[int, ...] = ()
    """Successors whose edge from this node does not hold."""
    wait: Suspension | None = None
    """What a node that is ``waiting`` waits for."""
