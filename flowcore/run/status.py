"""States of runs and nodes.

In: nothing. Out: the two enums and what is terminal. Not here: transitions (the stores' scripts).
"""

from enum import StrEnum

__all__ = ["NodeState", "RunState"]


class RunState(StrEnum):
    """State of a run."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """True if the run has ended: only an explicit resume changes it then."""
        return self in _TERMINAL_RUN


class NodeState(StrEnum):
    """State of a node."""

    PENDING = "pending"
    HELD = "held"
    DISPATCHED = "dispatched"
    RUNNING = "running"
    RETRYING = "retrying"
    WAITING = "waiting"
    """For a time, a signal or a limit; it holds no slot of a worker."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """True if the node has settled."""
        return self in _TERMINAL_NODE

    @property
    def letter(self) -> str:
        """The one byte that stands for this state in a run's record."""
        return _LETTERS[self]

    @classmethod
    def from_letter(cls, letter: str) -> "NodeState":
        """Read one byte of a run's record."""
        return _STATES[letter]


_TERMINAL_RUN = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
_TERMINAL_NODE = frozenset(
    {NodeState.SUCCEEDED, NodeState.FAILED, NodeState.SKIPPED, NodeState.CANCELLED}
)
_LETTERS = {
    NodeState.PENDING: "p",
    NodeState.HELD: "h",
    NodeState.DISPATCHED: "d",
    NodeState.RUNNING: "x",
    NodeState.RETRYING: "w",
    NodeState.WAITING: "q",
    NodeState.SUCCEEDED: "s",
    NodeState.FAILED: "f",
    NodeState.SKIPPED: "k",
    NodeState.CANCELLED: "c",
}
#: One that travels in a bundle has a letter of its own, and so has an epilogue before its turn.
_STATES = {letter: state for state, letter in _LETTERS.items()} | {
    "b": NodeState.DISPATCHED,
    "e": NodeState.PENDING,
}
