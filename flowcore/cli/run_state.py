"""The picture of a run that progress is drawn from: the fold of its events, with counts.

In: a plan, events. Out: records and how many nodes are in each state. Not here: drawing
(live_view), where events come from (follow).
"""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence

from flowcore.cli.child_runs import Question, questions_of
from flowcore.plan.plan import Plan
from flowcore.run.event import Event
from flowcore.run.fold import apply_event
from flowcore.run.record import NodeRecord
from flowcore.run.status import NodeState

__all__ = ["Picture"]


#: Where an event leaves its run, if it does not say so itself.
_STATES = {"created": "pending", "started": "running", "resumed": "running"}


class Picture:
    """Current knowledge of a run. Threads may read it while events are applied."""

    def __init__(self, run_id: str, plan: Plan) -> None:
        """Start with all nodes pending."""
        self.run_id = run_id
        self.plan = plan
        self.state = "pending"
        self.started: float | None = None
        self.time: float | None = None
        """When the latest event happened, in unix seconds."""
        self.counts: Counter[NodeState] = Counter({NodeState.PENDING: len(plan)})
        self.lock = threading.RLock()
        self.progress: Mapping[str, str] = {}
        """Progress of child runs, by node: see ``child_runs``."""
        self.inside: Sequence[Question] = ()
        """Questions of the runs inside."""
        self._nodes: dict[str, NodeRecord] = {}
        self._busy: dict[str, None] = {}
        self._waiting: dict[str, None] = {}
        self._failed: dict[str, None] = {}

    def apply(self, events: Sequence[Event]) -> None:
        """Bring the picture up to date."""
        with self.lock:
            for event in events:
                self._apply(event)

    def show_inside(self, progress: Mapping[str, str], questions: Sequence[Question]) -> None:
        """Take over what is known of the runs inside."""
        with self.lock:
            self.progress, self.inside = progress, questions

    def busy(self) -> list[NodeRecord]:
        """Return the nodes that have begun and not ended."""
        with self.lock:
            return [*self.waiting(), *self.running()]

    def node(self, name: str) -> NodeRecord:
        """Return the record of one node."""
        return self._nodes.get(name) or NodeRecord(id=name, state=NodeState.PENDING)

    @property
    def settled(self) -> int:
        """Number of nodes that can no longer change."""
        return sum(count for state, count in self.counts.items() if state.is_terminal)

    def running(self) -> list[NodeRecord]:
        """Return the nodes that run or wait for another attempt, longest first."""
        with self.lock:
            return [self._nodes[name] for name in self._busy]

    def waiting(self) -> list[NodeRecord]:
        """Return the nodes that wait for a time, an answer or a run inside, longest first."""
        with self.lock:
            return [self._nodes[name] for name in self._waiting]

    def questions(self) -> list[Question]:
        """Return what somebody has to answer, here or inside."""
        with self.lock:
            return [*questions_of(self.plan, self.waiting()), *self.inside]

    def failed(self) -> list[NodeRecord]:
        """Return the nodes that failed for good, first one first."""
        with self.lock:
            return [self._nodes[name] for name in self._failed]

    def _apply(self, event: Event) -> None:
        self.time = event.time
        kind, _, what = event.type.value.partition(".")
        if kind == "run":
            self.state = _STATES.get(what, what)
            if what == "started":
                self.started = event.time
        before = [self.node(name).state for name in event.nodes]
        apply_event(self._nodes, event)
        for name, old in zip(event.nodes, before, strict=True):
            self._move(name, old, self.node(name).state)

    def _move(self, name: str, old: NodeState, new: NodeState) -> None:
        self.counts[old] -= 1
        self.counts[new] += 1
        # Dicts keep the order in which nodes came to be here.
        for state, kept in (
            ((NodeState.RUNNING, NodeState.RETRYING), self._busy),
            ((NodeState.WAITING,), self._waiting),
            ((NodeState.FAILED,), self._failed),
        ):
            if new not in state:
                kept.pop(name, None)
            elif name in self._nodes:
                kept[name] = None
