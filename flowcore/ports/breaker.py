"""Circuit breakers that hold on all workers together.

In: that an attempt begins, and how it ended. Out: whether it may, and whether a circuit changed.
Not here: whose circuits, and which errors count (plan, engine).
"""

from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = ["Breakers", "Circuit", "Verdict"]

#: How an attempt ended, as a circuit sees it; ``None``: it says nothing about what it called.
Verdict = Literal["succeeded", "failed"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """A circuit and its rule.

    Closed, it lets all through; ``failures`` within ``within`` seconds open it. Open, it lets
    nothing through for ``reset_after`` seconds, then it is half open: up to ``trials`` attempts
    are let through at a time. As many successes close it, one failure opens it again. Source: M.
    Nygard, Release It!, 2007.
    """

    name: str
    failures: int
    within: float
    reset_after: float
    trials: int = 1


class Breakers(Protocol):
    """Keeps the circuits; every call is atomic and safe to repeat."""

    def enter(self, circuit: Circuit, holder: str) -> float | None:
        """Ask whether an attempt may begin.

        Args:
            circuit: Which.
            holder: Names the attempt. A trial of a holder that dies counts for ``reset_after``.

        Returns:
            None when it may begin, else the seconds after which it is worth asking again.
        """
        ...

    def leave(self, circuit: Circuit, holder: str, verdict: Verdict) -> str | None:
        """Say how an attempt ended that was let through.

        Returns:
            ``open`` or ``closed`` when this has opened or closed the circuit.
        """
        ...
