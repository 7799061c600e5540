"""Capabilities of backends, in the words of the feature matrix.

In: nothing. Out: Capability. A backend declares its own in ``features``; a tick in the matrix is
the passing of all cases of the capability (testing.conformance).
"""

from enum import StrEnum

__all__ = ["Capability"]


class Capability(StrEnum):
    """A row of the matrix; structure, control, durability go beyond the requirement page."""

    ASYNC = "async"
    """Runs any graph of sync and async functions: joins, conditions, dead paths."""
    STRUCTURE = "structure"
    """Maps, loops, branches, choices, sub-flows, and what is done at the end of a run."""
    STREAMING = "streaming"
    """Tells of what happens, and gives tokens, while a run goes on."""
    MEMORY = "memory"
    """Remembers across runs, by thread."""
    PARALLEL = "parallel"
    """Runs nodes, and runs, at the same time."""
    CALLBACKS = "callbacks"
    """Calls back."""
    RESILIENCE = "resilience"
    """Retries, time limits, failures that are tolerated."""
    CONTROL = "control"
    """Cancels, pauses and resumes runs."""
    DURABILITY = "durability"
    """Goes on when the process that runs a node dies."""
