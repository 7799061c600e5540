"""The events of a run, as every reader sees them.

In: nothing. Out: Event and its types. Not here: where they are kept (event log port).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Event", "EventType"]


class EventType(StrEnum):
    """One vocabulary on all backends."""

    RUN_CREATED = "run.created"
    RUN_STARTED = "run.started"
    RUN_PAUSED = "run.paused"
    RUN_RESUMED = "run.resumed"
    RUN_STOPPING = "run.stopping"
    RUN_SIGNAL = "run.signal"
    RUN_SUCCEEDED = "run.succeeded"
    RUN_FAILED = "run.failed"
    RUN_CANCELLED = "run.cancelled"
    NODES_DISPATCHED = "nodes.dispatched"
    NODES_REUSED = "nodes.reused"
    NODES_SKIPPED = "nodes.skipped"
    NODES_CANCELLED = "nodes.cancelled"
    NODE_STARTED = "node.started"
    NODE_SUCCEEDED = "node.succeeded"
    NODE_FAILED = "node.failed"
    NODE_RETRYING = "node.retrying"
    NODE_FALLBACK = "node.fallback"
    NODE_CACHED = "node.cached"
    NODE_CIRCUIT = "node.circuit"
    NODE_WAITING = "node.waiting"
    NODE_LOST = "node.lost"
    NODE_EMITTED = "node.emitted"
    NODE_TOKEN = "node.token"  # noqa: S105  (no password)
    NODE_LOG = "node.log"
    STREAM_GAP = "stream.gap"

    @property
    def is_terminal(self) -> bool:
        """True if a run ends with it: only ``run.resumed`` ever follows."""
        return self in _LAST


_LAST = frozenset({EventType.RUN_SUCCEEDED, EventType.RUN_FAILED, EventType.RUN_CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened in a run."""

    id: int
    """1, 2, 3, … within the run, without a gap: where a reader resumes."""
    type: EventType
    run: str
    time: float
    """Unix seconds on the store's clock."""
    nodes: tuple[str, ...] = ()
    """The node, or the nodes of a group that share the event."""
    attempt: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    """``worker``; ``error``; ``delay`` (s) of a retry; what a node waits
    for; the name of a signal; what a node emitted. Of a token ``text``, or ``chunk`` if it is no
    text; of a log record ``level`` and ``message``; of a gap ``lost``, how many events of the node
    are missing here, and ``reason``."""

    @property
    def node(self) -> str | None:
        """The one node this event is about, if it is about one."""
        return self.nodes[0] if len(self.nodes) == 1 else None
