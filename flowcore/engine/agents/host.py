"""A process as a host of agents.

In: tasks that somebody rang for. Out: their functions run, what they made is in the store. Not
here: who starts and ends the process (celery.agents.supervisor), the function's own call
(invocation).

Coroutines run on one event loop, plain functions in threads. The calls to the store that belong to
a turn are made on the loop itself: they take 0.1 ms, less than handing them to a thread.

Nothing that a function does ends more than its own task: whatever it raises is caught where it is
called. A call that does not come back keeps its place, though its task has ended; when an agent has
no other places left, ``exhausted`` is set, and the process has to be replaced.
"""

import asyncio
import logging
import os
import secrets
import socket
import threading
import traceback
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flowcore.agents.agent import AgentSpec, InputRequired, Rejected
from flowcore.agents.message import Json, TaskState
from flowcore.engine.agents.call_table import CallRecords
from flowcore.engine.agents.caller import AgentCaller
from flowcore.engine.agents.context import (
    AgentContext,
    BlockingAgentContext,
    SuspendUntilReplied,
    has_ended,
    said,
)
from flowcore.engine.agents.invocation import Invocation, TimedOut
from flowcore.engine.agents.messages import error_text
from flowcore.engine.agents.queues import agent_queue
from flowcore.engine.agents.slots import Places
from flowcore.engine.agents.waiting import Ears, TurnWaiting
from flowcore.engine.values.event_limits import MOST_TRACEBACK, shorten
from flowcore.errors import FlowcoreError
from flowcore.ports.agents import TaskClaim, TaskLease

__all__ = ["AgentHost", "retry_delay"]

_log = logging.getLogger(__name__)

#: Seconds after which a parked function runs again in any case.
_PARKED = 5.0
_BACKOFF = 0.5
_BACKOFF_MOST = 30.0
#: Seconds between two signs of life of the loop.
_BEAT = 0.25
_ANOTHER_WAITS = 2


@dataclass(slots=True, kw_only=True, eq=False)
class _Turn:
    """One run of an agent's function for a task."""

    claim: TaskClaim
    spec: AgentSpec
    waiting: TurnWaiting
    call: Invocation = field(default_factory=Invocation)
    context: AgentContext | BlockingAgentContext | None = None


class AgentHost:
    """Runs the agents of one process."""

    def __init__(
        self,
        agents: Mapping[str, AgentSpec],
        caller: AgentCaller,
        *,
        namespace: str,
        records: CallRecords | None = None,
    ) -> None:
        """Host these agents; ``start`` starts the loop."""
        self.agents = agents
        self.instance = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.places = {name: Places(spec.max_concurrency) for name, spec in agents.items()}
        self.cards: dict[str, Json] = {
            name: spec.card(queue=agent_queue(name, namespace=namespace))
            for name, spec in agents.items()
        }
        self.exhausted = threading.Event()
        self._records = records or CallRecords.none()
        self._caller = caller
        self._store = caller.store
        self._turns: dict[str, _Turn] = {}
        self._hung: set[_Turn] = set()
        self._parked: dict[str, set[str]] = defaultdict(set)
        self._loop = asyncio.new_event_loop()
        self._ears = Ears()
        self._stopped = False

    def start(self) -> None:
        """Start the loop."""
        threading.Thread(target=self._run_loop, name="flowcore-agents", daemon=True).start()
        self._loop.call_soon_threadsafe(self._beat)

    def stop(self) -> None:
        """Give back what runs, and end the loop."""
        self._stopped = True
        for turn in list(self._turns.values()):
            self._store.retry(turn.claim.hold, delay=0.0, failed=False)
            self.drop(turn.claim.hold)
        self._loop.call_soon_threadsafe(self._loop.stop)

    @property
    def is_busy(self) -> bool:
        """True if calls are under way."""
        return bool(self._turns)

    def holds(self) -> Sequence[TaskLease]:
        """Return what this process works on."""
        return [turn.claim.hold for turn in list(self._turns.values())]

    def accept(self, task: str) -> None:
        """Begin a task that somebody rang for, unless it is somebody's already."""
        claim = self._store.claim(task, instance=self.instance)
        if claim is None:
            return
        if claim.agent not in self.agents:
            self._store.retry(claim.hold, delay=_BACKOFF, failed=False)
            return
        spec, places = self.agents[claim.agent], self.places[claim.agent]
        places.take()
        waiting = TurnWaiting(self.instance, self._ears, self._store, places)
        turn = _Turn(claim=claim, spec=spec, waiting=waiting)
        # From here on it is renewed, and handed back, even if the loop does not come to it.
        self._turns[claim.hold.task] = turn
        tries = claim.tries if claim.tries < spec.retries else None
        self._records.open(claim.hold, agent=spec.name, timeout=spec.timeout, tries=tries)
        self._loop.call_soon_threadsafe(self._begin, turn)

    def hear(self, kind: str, task: str) -> None:
        """Be told of news of a task (``e``), of its end (``d``), or to stop it (``s``)."""
        if kind == "s":
            if turn := self._turns.get(task):
                self.drop(turn.claim.hold)
            return
        if kind == "d":
            for parent in self._parked.pop(task, ()):
                self._unpark(parent)
        self._loop.call_soon_threadsafe(self._ears.wake, kind, task)

    def drop(self, hold: TaskLease) -> None:
        """Stop working on a task that is no longer ours, unless it is ours again."""
        turn = self._turns.get(hold.task)
        if turn is None or turn.claim.hold != hold:
            return
        # Seen by whoever watches this process even if the loop does not come to what follows.
        self._records.ask(hold)
        if turn.context is not None:
            turn.context.stopping.set()
        self._loop.call_soon_threadsafe(turn.call.drop)

    def _run_loop(self) -> None:
        self._records.loop_runs_in(threading.get_native_id())
        while not self._stopped:
            try:
                self._loop.run_forever()
            except BaseException as error:  # noqa: BLE001  (an agent's own task may end the loop)
                _log.warning("something an agent has started raised %s", error_text(error))

    def _beat(self) -> None:
        self._records.beat_loop()
        self._loop.call_later(_BEAT, self._beat)

    def _unpark(self, parent: str) -> None:
        bell = self._store.wake(parent)
        if bell is not None:
            self._caller.ring(bell.agent, bell.task)

    # ── turns ────────────────────────────────────────────────────────────────────────────────

    def _begin(self, turn: _Turn) -> None:
        # Held by the turn's call: the loop alone would let go of it.
        turn.call.runner = self._loop.create_task(self._run(turn))

    async def _run(self, turn: _Turn) -> None:
        task, agent = turn.claim.hold.task, turn.spec.name
        try:
            state, body = await self._outcome(turn)
            if state is not None:
                self._settle(turn, state, body)
        except FlowcoreError as error:
            _log.warning("task %s of agent %s: %s", task, agent, error)
        except Exception:  # noqa: BLE001  (its lease runs out, and somebody else goes on)
            _log.exception("unexpected error in task %s of agent %s", task, agent)
        finally:
            if self._turns.get(task) is turn:
                del self._turns[task]
            self._records.close(turn.claim.hold)
            turn.waiting.forget()
            self._leave(turn)

    def _settle(self, turn: _Turn, state: TaskState, body: bytes) -> None:
        if self._store.settle(turn.claim.hold, state, body) == _ANOTHER_WAITS:
            self._caller.ring(turn.spec.name, turn.claim.hold.task)

    def _leave(self, turn: _Turn) -> None:
        """Give the place back, at once or when the call has come back."""
        places = self.places[turn.spec.name]
        if turn.call.has_ended:
            places.give()
            return
        places.hang()
        self._hung.add(turn)
        turn.call.when_ended(lambda: self._come_back(turn))
        _log.warning(
            "a call of agent %s does not come back: %d hang here", turn.spec.name, places.hung
        )
        if places.are_all_hung:
            self.exhausted.set()

    def _come_back(self, turn: _Turn) -> None:
        self._hung.discard(turn)
        self.places[turn.spec.name].come_back()

    async def _outcome(self, turn: _Turn) -> tuple[TaskState | None, bytes]:
        """Run the function; return the state that its task comes to, None if that is not ours."""
        try:
            return await self._came_to(turn)
        except SuspendUntilReplied as parked:
            self._park(turn, parked.tasks)
        except TimedOut as late:
            return self._failed(turn, str(late))
        except BaseException as error:  # noqa: BLE001  (whatever an agent raises is its task's end)
            if turn.call.dropped:
                _log.info("task %s of agent %s was stopped", turn.claim.hold.task, turn.spec.name)
                return None, b""
            _log.info("agent %s failed\n%s", turn.spec.name, _trace(error))
            return self._failed(turn, error_text(error))
        return None, b""

    async def _came_to(self, turn: _Turn) -> tuple[TaskState | None, bytes]:
        spec, claim = turn.spec, turn.claim
        state, body = TaskState.COMPLETED, b""
        kind = AgentContext if spec.is_async else BlockingAgentContext
        context = kind(claim, self._caller, turn.waiting)
        turn.context = context
        self._records.arm(claim.hold, spec.timeout)
        try:
            await turn.call.run(spec, context, lambda to: self._records.run_in(claim.hold, to))
        except InputRequired as asks:
            label = f"question of agent {spec.name!r}"
            state, body = TaskState.INPUT_REQUIRED, said(asks.question, label=label)
        except Rejected as no:
            words = error_text(no).partition(": ")[2]
            state, body = TaskState.REJECTED, said(words, label="reason")
        context.events.close()
        return state, body

    def _failed(self, turn: _Turn, text: str) -> tuple[TaskState | None, bytes]:
        tries = turn.claim.tries
        if tries < turn.spec.retries:
            self._store.retry(turn.claim.hold, delay=retry_delay(tries), failed=True)
            return None, b""
        if turn.context is not None:
            try:
                turn.context.events.close()
            except FlowcoreError as error:
                _log.debug("the events of a failed task were not closed: %s", error)
        return TaskState.FAILED, said(text, label="error")

    def _park(self, turn: _Turn, tasks: Sequence[str]) -> None:
        """Give the task back until all of them have ended; a sweep looks after it meanwhile."""
        parent = turn.claim.hold.task
        if not self._store.retry(turn.claim.hold, delay=_PARKED, failed=False):
            return
        for task in tasks:
            self._parked[task].add(parent)
        for task in tasks:
            found = self._store.get(task)
            if found is None or has_ended(found):
                for waiting in self._parked.pop(task, set()):
                    self._unpark(waiting)


def _trace(error: BaseException) -> str:
    try:
        found = "".join(traceback.format_exception(error))
    except BaseException:  # noqa: BLE001  (an odd error must not become one of the host)
        found = error_text(error)
    return shorten(found.encode("utf-8", "backslashreplace").decode(), MOST_TRACEBACK)


def retry_delay(tries: int) -> float:
    """Return the seconds after which a task that has failed so often is tried again."""
    return float(min(_BACKOFF * 2.0 ** min(tries, 10), _BACKOFF_MOST))
