"""A flow of the campaign and what it must come to.

In: nothing. Out: plain data. Not here: making them (flows, inner), judging (judging, kinship).
"""

from dataclasses import dataclass, field
from typing import Any

from flowcore.plan.plan import Plan
from tests.faults.meddling import Plot
from tests.reference import Expected

__all__ = ["Case"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A flow and what it must come to."""

    plan: Plan
    expected: Expected
    error: str | None = None
    """The type that the run's error must name."""
    attempts: dict[str, int] = field(default_factory=dict)
    """Most attempts that may fail by themselves, by node; 1 where a node is not named."""
    attempts_exactly: int | None = None
    """How often its one node must have been started."""
    input: Any = field(default_factory=dict)
    kin: bool = False
    """Whether its nodes start runs; then states are looked at by rules, not by ``expected``."""
    plot: Plot = "none"
    """What is done to its run meanwhile."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """With ``kin``: what these nodes must give, should they succeed."""
