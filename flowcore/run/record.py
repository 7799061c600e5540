"""Records of a run and of each node.

In: nothing. Out: frozen records that readers get. Not here: keeping them (stores).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flowcore.run.status import NodeState, RunState
from flowcore.run.text import to_utf8

__all__ = [
    "DEADLINE_PASSED",
    "GIVEN_UP",
    "WORKER_LOST",
    "DeadLetter",
    "Failure",
    "NodeRecord",
    "Origin",
    "Parent",
    "RunRecord",
    "RunSummary",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an attempt failed, in plain data."""

    type: str
    """Qualified name of the exception's class; built-ins without a module."""
    message: str
    code: str | None = None
    """flowcore's own code when the error is one of its tree."""
    traceback: str | None = None
    node: str | None = None
    attempt: int | None = None
    worker: str | None = None
    fallen: bool | None = None
    """True while an attempt is deferred whose fallbacks were called already; no record has it."""

    def __post_init__(self) -> None:
        """Keep what can be stored: an exception's words, its class and its file may be no text."""
        for name in ("type", "message", "traceback", "node", "worker"):
            text = getattr(self, name)
            if isinstance(text, str) and (kept := to_utf8(text)) is not text:
                object.__setattr__(self, name, kept)

    def as_dict(self) -> dict[str, Any]:
        """The failure as JSON, without empty fields."""
        names = ("type", "message", "code", "traceback", "node", "attempt", "worker", "fallen")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """One node of one run."""

    id: str
    state: NodeState
    attempts: int = 0
    started: float | None = None
    """Unix seconds at which the latest attempt started."""
    finished: float | None = None
    worker: str | None = None
    error: Failure | None = None
    waits: str | None = None
    """What it waits for, in words, while it does."""
    signal: str | None = None
    """The signal that it waits for; an approval's is the node's id."""
    until: float | None = None
    """Unix seconds at which it goes on by itself, while it waits or is to be tried again."""
    child: str | None = None
    """The run that it has started, or the last of several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The run that a run is made after."""

    run: str
    node: str | None = None
    """From where on it was run again; None: from the beginning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """The attempt of a node that started a run: the items of a map, a loop, a sub-flow."""

    run: str
    node: int
    """Its number in that run's plan."""
    name: str
    """Its id."""
    attempt: int
    chance: int
    """Its attempts so far, without those that ended with the loss of their worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A node that was given up because its worker died each time."""

    run: str
    flow: str
    node: str
    time: float
    """Unix seconds."""
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run as a row of a list."""

    id: str
    flow: str
    version: str
    state: RunState
    created: float
    started: float | None = None
    finished: float | None = None
    total: int = 0
    """Nodes in the flow."""
    settled: int = 0
    """Nodes that have succeeded, failed, been skipped or cancelled."""
    tags: tuple[str, ...] = ()
    plan: str = ""
    """Content hash of the plan the run is pinned to."""
    error: Failure | None = None
    namespace: str = ""
    """Prefix of the queues its messages travel on: the project, on the embedded server."""
    priority: int = 5
    origin: Origin | None = None
    """The run of which this one is a rerun."""
    parent: Parent | None = None
    """The node of another run that this one is part of."""
    stop: str | None = None
    """Why somebody has cancelled it."""
    resumes: int = 0
    """How often it went on after it had ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord(RunSummary):
    """One run with its nodes; outputs are read apart, they may be large."""

    nodes: Mapping[str, NodeRecord] = field(default_factory=dict)


WORKER_LOST = Failure(
    type="WorkerLostError",
    code="FC505",
    message="its worker died each time it ran; find out why (memory?) before you run it again",
)
GIVEN_UP = "the run that it is part of was stopped"
DEADLINE_PASSED = Failure(
    type="RunTimeoutError",
    code="FC404",
    message="the run passed its deadline (config.execution.timeout_seconds)",
)
