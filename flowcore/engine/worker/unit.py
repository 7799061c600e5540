"""Work first: a worker that has ended a node goes on with what that made ready.

In: nodes that this worker owns. Out: they have run, are recorded, or went back to the queue.
Not here: one attempt (executor), how much a unit may keep (runs.granularity), messages (backends).

A message costs more than a short node, and a round trip to the store costs more than a very short
one. So a unit runs its nodes one after the other and records them together. A node whose
predecessors have all run in this very unit is ready, whatever the store knows: it is run, too, and
recorded behind them. What nobody has recorded is run again, should this process die.

Nobody waits for a long node: as soon as one is seen to take long, a second thread records what was
done before it, and gives back what was to come after it.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flowcore.engine.attempts.attempt import AttemptContext, AttemptResult
from flowcore.engine.attempts.invocation import CancelHandle
from flowcore.engine.attempts.upstream import Upstream
from flowcore.engine.attempts.work_table import WorkRecord
from flowcore.engine.runs.granularity import PLENTY, DurationEstimates
from flowcore.engine.values.store_writes import unrecordable
from flowcore.engine.worker.executor import Executor
from flowcore.errors import ServiceError
from flowcore.plan.plan import Plan
from flowcore.ports.store import AttemptRef, Outcome, RunStore, Transition
from flowcore.ports.unit import CompletedNode, Granularity, UnitProgress, UnitRef
from flowcore.run.status import NodeState

__all__ = ["HAND_BACK", "Unit", "UnitHost", "UnitWatch", "unit_of"]

_log = logging.getLogger(__name__)

#: Seconds after which a unit gives back what it has not begun, so that others get their turn.
HAND_BACK = 0.25

#: Seconds that a node may take before others are no longer made to wait for it.
PATIENCE = 0.01

#: Seconds after which the parent of this process may have spoken for a node: see ``work_table``.
_LONG = 0.5

#: Seconds after which a unit records what it has done.
_FLUSH_AFTER = 0.025

#: Joins of more nodes than this are left to the store.
_WIDE = 64

_DONE = NodeState.SUCCEEDED.letter

#: Nodes that a unit records in one step, and bytes of their outputs.
_FLUSH_AT = 500
_FLUSH_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitHost:
    """Operations that units need of the process they run in."""

    store: RunStore
    executor: Executor
    estimates: DurationEstimates
    record: Callable[[Callable[[], Transition], Plan, str, str], Transition]
    """Makes a write of a run and a worker, and publishes what it has set in motion."""
    slots: Callable[[], int]
    """How many nodes the workers can run at a time."""
    watched: WorkRecord | None = None
    """What the parent of this process watches, if it does."""


@dataclass(slots=True)
class _Busy:
    """The node that is being run."""

    node: int
    since: float
    patience: float
    """Seconds after which others are no longer made to wait for it."""
    told: bool = False


@dataclass(slots=True, kw_only=True)
class Unit:
    """Nodes of one run that one worker owns."""

    host: UnitHost
    ticket: UnitRef
    plan: Plan
    queue: str | None
    """The queue its message came on, as policies name it: another's nodes are not for here."""
    worker: str
    upstream: Upstream
    ran: Callable[[int, Outcome, float], object] | None = None
    """Hears of each attempt: the node, how it ended, and how many seconds ago it began."""
    ends: float = 0.0
    """On the monotonic clock."""
    resumed: bool = False
    """The run has ended once: then only what the store gives is known to be a first attempt."""
    stopper: CancelHandle = field(default_factory=CancelHandle)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _owned: set[int] = field(default_factory=set)
    _todo: deque[int] = field(default_factory=deque)
    _done: list[tuple[int, bytes, float, float, bool]] = field(default_factory=list)
    _busy: _Busy | None = None
    _weight: int = 0
    """Bytes of the outputs that are not recorded yet."""
    _flushed: float = 0.0
    _began: float = 0.0
    _seen: Counter[int] = field(default_factory=Counter)
    _left: dict[int, int] = field(default_factory=dict)
    _mine: set[int] = field(default_factory=set)
    _stuck: int | None = None
    """A join that waits for nodes of others, as far as is known here."""
    _ahead: str = ""
    _ahead_from: int = 0

    def run(self, nodes: Collection[int]) -> None:
        """Run these nodes, which the unit owns, and what they make ready.

        Ends when there is nothing left to do, or when its time is over; then everything is
        recorded and the rest is in the queue again.
        """
        self._began = self._flushed = time.monotonic()
        self.ends = self._flushed + HAND_BACK
        self._take(nodes)
        while (node := self._next()) is not None:
            self._run(node)

    def check(self, now: float) -> None:
        """Let nobody wait for a node that takes long; called from another thread."""
        busy = self._busy
        if busy is not None and not busy.told and now - busy.since >= busy.patience:
            with self._lock:
                if self._busy is busy and not busy.told:
                    self._flush(give_back=True)

    def tell(self) -> None:
        """Make sure that the store knows of the node that is being run."""
        with self._lock:
            if self._busy is not None and not self._busy.told:
                self._flush()

    def _ms(self, moment: float) -> int:
        """Milliseconds since it began: rounded once, so that order stays order."""
        return int((moment - self._began) * 1000)

    def _next(self) -> int | None:
        """Record what should be recorded by now; return the node to go on with."""
        with self._lock:
            self._busy = None
            now = time.monotonic()
            if now >= self.ends or self.stopper.stopping.is_set():
                if self._owned or self._done:
                    self._flush(give_back=True)
                return None
            full = len(self._done) >= _FLUSH_AT or self._weight >= _FLUSH_BYTES
            if not self._todo or full or now - self._flushed > _FLUSH_AFTER:
                if self._done:
                    self._flush()
                    now = self._flushed
                if not self._todo:
                    return None
            node = self._todo.popleft()
            uses = self.plan.policies[self.plan.policy_of[node]].uses
            cost = self.host.estimates.cost(uses) or 0.0
            self._busy = _Busy(node, now, max(PATIENCE, 2 * cost))
            if self.host.watched is not None:
                self.host.watched.begin(node, 1, now)
            if cost >= PLENTY and not self._flush(give_back=bool(self._todo)):
                return None
            return node

    def _run(self, node: int) -> None:
        work = AttemptContext(
            run=self.ticket.run,
            plan=self.plan,
            node=node,
            upstream=self.upstream,
            stopper=self.stopper,
            worker=self.worker,
            before_emit=self.tell,
        )
        ended = self.host.executor.attempt_in_unit(work)
        with self._lock:
            busy, now = self._busy, time.monotonic()
            if busy is None:
                return  # somebody else has the unit's nodes by now
            self.host.estimates.note(
                self.plan.policies[self.plan.policy_of[node]].uses, now - busy.since
            )
            if now - busy.since >= _LONG and self.host.watched is not None:
                busy.told = busy.told or self.host.watched.is_told
            if isinstance(ended, bytes):
                self._done.append((node, ended, busy.since, now, busy.told))
                self._weight += len(ended)
                self._mine.add(node)
                self._owned.discard(node)
                if self.plan.succ[node]:
                    self.upstream.put_packed(node, ended)
                    self._make_ready(node)
            else:
                self._settle(ended)
        if self.ran is not None:
            outcome = ended.outcome if isinstance(ended, AttemptResult) else _SUCCEEDED
            try:
                self.ran(node, outcome, now - busy.since)
            except Exception:  # noqa: BLE001  (monitors hear less, and that is all)
                _log.exception("monitors were not notified of a node of run %s", self.ticket.run)

    def _make_ready(self, node: int) -> None:
        """Go on with nodes that only this unit can have made ready."""
        plan, after = self.plan, self.plan.succ[node]
        # Nodes with the same successors are counted together: layers of 100 have 10,000 edges.
        key = id(after)
        self._seen[key] += 1
        count = self._seen[key]
        if count < plan.siblings(node) or self.resumed:
            return
        for target in after:
            left = self._left.get(target, len(plan.pred[target])) - count
            self._left[target] = left
            if left and not self._others_are_done(target):
                self._stuck = target if self._stuck is None else min(self._stuck, target)
                continue
            policy = plan.policies[plan.policy_of[target]]
            if not policy.alone and policy.queue == self.queue:
                self._todo.append(target)

    def _others_are_done(self, target: int) -> bool:
        """Return whether all that a join waits for has succeeded, here or elsewhere.

        Then only this unit can make it ready: it has done the last of them.
        """
        plan, start, ahead = self.plan, self._ahead_from, self._ahead
        before = plan.pred[target]
        if not ahead or len(before) > _WIDE:
            return False
        return all(
            source in self._mine
            or (start <= source < start + len(ahead) and ahead[source - start] == _DONE)
            for source in before
        ) and not any((source, target) in plan.when for source in before)

    def _settle(self, attempt: AttemptResult) -> None:
        """Record an end that is no plain success, behind what was done before it."""
        if self._busy is not None and not self._busy.told and not self._flush():
            return
        self._owned.discard(attempt.ticket.node)
        try:
            self._obey(self._write_end(attempt.ticket, attempt.outcome))
        except ServiceError:
            raise
        except Exception as trouble:  # noqa: BLE001
            # The function has ended: whatever the engine stumbles over, it is not run again.
            _log.exception("the end of a node of run %s was not recorded", self.ticket.run)
            name = self.plan.ids[attempt.ticket.node]
            failure = unrecordable(trouble, name, attempt.ticket.attempt)
            outcome = Outcome(kind="failed", failure=failure)
            self._obey(self._write_end(attempt.ticket, outcome))

    def _write_end(self, ticket: AttemptRef, outcome: Outcome) -> Transition:
        grain, unit = self._grain(), self.ticket.unit
        return self._record(lambda: self.host.store.settle(ticket, outcome, unit=unit, grain=grain))

    def _record(self, write: Callable[[], Transition]) -> Transition:
        return self.host.record(write, self.plan, self.ticket.run, self.worker)

    def _flush(self, *, give_back: bool = False) -> bool:
        """Record what was done; False when the unit is lost. The lock is held."""
        at, origin = self._ms(time.monotonic()), self._began
        # In milliseconds since the unit began, rounded once, so that order stays order.
        done = [
            CompletedNode(
                node,
                output,
                (ended := int((end - origin) * 1000)) - int((begin - origin) * 1000),
                at - ended,
                told,
            )
            for node, output, begin, end, told in self._done
        ]
        busy = self._busy
        news = UnitProgress(
            done=done,
            current=None if busy is None else busy.node,
            since=0 if busy is None else at - self._ms(busy.since),
            age=at,
            give_back=give_back,
            ahead=None if self._stuck is None else self.plan.pred[self._stuck][0],
        )
        grain = self._grain()
        advance = self._record(
            lambda: self.host.store.flush(
                self.ticket, news, self.plan, worker=self.worker, grain=grain
            )
        )
        self._done.clear()
        self._weight = 0
        if self.host.watched is not None:
            self.host.watched.flushed()
        if busy is not None:
            busy.told = True
        if news.ahead is not None:
            self._ahead, self._ahead_from, self._stuck = advance.ahead, news.ahead, None
        self._obey(advance)
        self._flushed = time.monotonic()
        return advance.accepted

    def _obey(self, advance: Transition) -> None:
        """Go on as the store says."""
        if advance.stopping:
            self.stopper.ask()
        if advance.paused:
            self.ends = 0.0  # give back what has not begun, and begin nothing
        self.resumed = self.resumed or advance.resumed
        if not advance.accepted:
            self._busy = None
        self._take(advance.kept)

    def _take(self, nodes: Collection[int]) -> None:
        self._owned = set(nodes)
        busy = self._busy.node if self._busy is not None else None
        self._todo = deque(node for node in nodes if node != busy)
        self.host.executor.fetch(self.plan, self._todo, self.upstream)

    def _grain(self) -> Granularity:
        host = self.host
        uses = (self.plan.policies[self.plan.policy_of[node]].uses for node in self._owned)
        spent = sum(host.estimates.cost(name) or 0.0 for name in uses)
        return host.estimates.grain(self.plan, queue=self.queue, slots=host.slots(), spent=spent)


def unit_of(ticket: AttemptRef) -> UnitRef:
    """Name the unit that settling an attempt may open."""
    return UnitRef(run=ticket.run, unit=f"u{ticket.node}a{ticket.attempt}")


_SUCCEEDED = Outcome(kind="succeeded")


class UnitWatch:
    """Looks after the units of a process, from one thread, while there are any."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._units: dict[int, Unit] = {}
        self._some = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, unit: Unit) -> Iterator[None]:
        """Look after a unit for the length of the block."""
        with self._lock:
            self._units[id(unit)] = unit
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._watch, name="flowcore-units", daemon=True
                )
                self._thread.start()
        self._some.set()
        try:
            yield
        finally:
            with self._lock:
                del self._units[id(unit)]
                if not self._units:
                    self._some.clear()

    def _watch(self) -> None:
        while True:
            self._some.wait()
            time.sleep(PATIENCE / 2)
            with self._lock:
                units = list(self._units.values())
            now = time.monotonic()
            for unit in units:
                try:
                    unit.check(now)
                except Exception:  # noqa: BLE001  (other units are to be looked after, too)
                    _log.warning("a unit of run %s waits", unit.ticket.run, exc_info=True)
