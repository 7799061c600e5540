"""A worker process as a host of agents.

In: tasks that somebody rang for. Out: their functions run, what they made is in the store.

Coroutines run on one event loop, plain functions in threads. The calls to the store that belong to
a turn are made on the loop itself: they take 0.1 ms, less than handing them to a thread.
"""

import asyncio
import inspect
import logging
import os
import secrets
import socket
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from flowcore.agents.agent import AgentSpec, InputRequired, Rejected
from flowcore.agents.message import Artifact, Json, Message, Task, TaskState, TaskUpdate, parts_of
from flowcore.backends.a2a.context import AgentContext, BlockingAgentContext, Parked, said
from flowcore.backends.a2a.ringing import agent_queue
from flowcore.engine.agents import Caller
from flowcore.errors import AgentTaskError, FlowcoreError
from flowcore.ports.agents import TaskClaim, TaskHold, TaskStore

__all__ = ["AgentHost", "Places"]

_log = logging.getLogger(__name__)

#: Seconds after which one that waits looks into the store, if it was told nothing.
_LOOK = 1.0

#: Seconds after which a parked function runs again in any case.
_PARKED = 5.0
_BACKOFF = 0.5
_BACKOFF_MOST = 30.0


class Places:
    """How many tasks of an agent run here; those that wait for others do not count."""

    def __init__(self, most: int) -> None:
        """Allow so many."""
        self._most = most
        self._busy = 0
        self._changed = threading.Condition()

    def wait_free(self, timeout: float) -> bool:
        """Wait for a free place."""
        with self._changed:
            return self._changed.wait_for(lambda: self._busy < self._most, timeout)

    def take(self) -> None:
        """Take one; whoever goes on after a wait does not have to wait again."""
        with self._changed:
            self._busy += 1

    def give(self) -> None:
        """Give one back."""
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()


@dataclass(slots=True, kw_only=True)
class _Turn:
    claim: TaskClaim
    context: AgentContext | BlockingAgentContext
    waiting: "_Waiting"
    work: "asyncio.Task[None] | None" = None


@dataclass(slots=True)
class _Ears:
    """Who waits for news of which task."""

    ended: dict[str, set[asyncio.Event]] = field(default_factory=lambda: defaultdict(set))
    news: dict[str, set[asyncio.Event]] = field(default_factory=lambda: defaultdict(set))


class AgentHost:
    """Runs the agents of one process."""

    def __init__(self, agents: Mapping[str, AgentSpec], caller: Caller, *, namespace: str) -> None:
        """Host these agents; ``start`` starts the loop."""
        self.agents = agents
        self.instance = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self.places = {name: Places(spec.max_concurrency) for name, spec in agents.items()}
        self.cards: dict[str, Json] = {
            name: spec.card(queue=agent_queue(name, namespace=namespace))
            for name, spec in agents.items()
        }
        self._caller = caller
        self._store = caller.store
        self._turns: dict[str, _Turn] = {}
        self._parked: dict[str, str] = {}
        self._ears = _Ears()
        self._loop = asyncio.new_event_loop()
        most = sum(spec.max_concurrency for spec in agents.values())
        self._threads = ThreadPoolExecutor(max_workers=most, thread_name_prefix="flowcore-agent")

    def start(self) -> None:
        """Start the loop."""
        threading.Thread(target=self._loop.run_forever, name="flowcore-agents", daemon=True).start()

    def stop(self) -> None:
        """Give back what runs, and end the loop."""
        for turn in list(self._turns.values()):
            self._store.retry(turn.claim.hold, delay=0.0, failed=False)
            self.drop(turn.claim.hold.task)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def holds(self) -> Sequence[TaskHold]:
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
        self.places[claim.agent].take()
        self._loop.call_soon_threadsafe(self._begin, claim)

    def hear(self, kind: str, task: str) -> None:
        """Be told of news of a task (``e``), of its end (``d``), or to stop it (``s``)."""
        if kind == "s":
            self.drop(task)
            return
        if kind == "d" and (parent := self._parked.pop(task, None)):
            self._unpark(parent)
        self._loop.call_soon_threadsafe(self._wake, kind, task)

    def drop(self, task: str) -> None:
        """Stop working on a task that is no longer ours."""
        turn = self._turns.get(task)
        if turn is None:
            return
        turn.context.stopping.set()
        turn.context.cancel_calls()
        if turn.work is not None and isinstance(turn.context, AgentContext):
            self._loop.call_soon_threadsafe(turn.work.cancel)

    # ── waiting ──────────────────────────────────────────────────────────────────────────────

    def _wake(self, kind: str, task: str) -> None:
        ears = (self._ears.ended, self._ears.news) if kind == "d" else (self._ears.news,)
        for each in ears:
            for event in each.get(task, ()):
                event.set()

    async def listen(self, task: str, event: asyncio.Event, *, news: bool) -> None:
        """Wait until there may be news."""
        ears = self._ears.news if news else self._ears.ended
        ears[task].add(event)
        try:
            async with asyncio.timeout(_LOOK):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self.forget(task, event, news=news)

    def expect(self, task: str) -> asyncio.Event:
        """Keep the end of a task in mind, should it come before anybody waits for it."""
        event = asyncio.Event()
        self._ears.ended[task].add(event)
        return event

    def forget(self, task: str, event: asyncio.Event, *, news: bool) -> None:
        """Wait no more."""
        ears = self._ears.news if news else self._ears.ended
        ears[task].discard(event)
        if not ears[task]:
            del ears[task]

    def _unpark(self, parent: str) -> None:
        bell = self._store.wake(parent)
        if bell is not None:
            self._caller.ring(bell.agent, bell.task)

    # ── turns ────────────────────────────────────────────────────────────────────────────────

    def _begin(self, claim: TaskClaim) -> None:
        spec = self.agents[claim.agent]
        is_async = inspect.iscoroutinefunction(spec.call) or inspect.isasyncgenfunction(spec.call)
        kind = AgentContext if is_async else BlockingAgentContext
        waiting = _Waiting(self, self._store, self.places[claim.agent])
        context = kind(claim, self._caller, waiting)
        turn = _Turn(claim=claim, context=context, waiting=waiting)
        self._turns[claim.hold.task] = turn
        turn.work = self._loop.create_task(self._run(spec, turn))

    async def _run(self, spec: AgentSpec, turn: _Turn) -> None:
        task = turn.claim.hold.task
        try:
            state, body = await self._outcome(spec, turn)
            if state is not None and self._store.settle(turn.claim.hold, state, body) == 2:  # noqa: PLR2004
                self._caller.ring(spec.name, task)
        except FlowcoreError as error:
            _log.warning("task %s of agent %s: %s", task, spec.name, error)
        except asyncio.CancelledError:
            _log.info("task %s of agent %s was stopped", task, spec.name)
        finally:
            if self._turns.get(task) is turn:
                del self._turns[task]
            turn.waiting.forget()
            self.places[spec.name].give()

    async def _outcome(self, spec: AgentSpec, turn: _Turn) -> tuple[TaskState | None, bytes]:
        try:
            async with asyncio.timeout(spec.timeout):
                await self._call(spec, turn)
        except InputRequired as asks:
            return TaskState.INPUT_REQUIRED, said(asks.question)
        except Rejected as no:
            return TaskState.REJECTED, said(str(no))
        except Parked as parked:
            self._park(turn, parked.tasks)
            return None, b""
        except TimeoutError as error:
            turn.context.stopping.set()
            text = str(error) or f"took longer than its timeout of {spec.timeout:g} s"
            return self._failed(spec, turn, text)
        except Exception as error:  # noqa: BLE001  (whatever an agent raises is its task's end)
            _log.info("agent %s failed", spec.name, exc_info=True)
            return self._failed(spec, turn, f"{type(error).__name__}: {error}")
        return TaskState.COMPLETED, b""

    def _failed(self, spec: AgentSpec, turn: _Turn, text: str) -> tuple[TaskState | None, bytes]:
        tries = turn.claim.tries
        if tries < spec.retries:
            delay = min(_BACKOFF * 2**tries, _BACKOFF_MOST)
            self._store.retry(turn.claim.hold, delay=delay, failed=True)
            return None, b""
        turn.context.cancel_calls()
        return TaskState.FAILED, said(text)

    def _park(self, turn: _Turn, tasks: Sequence[str]) -> None:
        """Give the task back until all of them have ended; a sweep looks after it meanwhile."""
        parent = turn.claim.hold.task
        if not self._store.retry(turn.claim.hold, delay=_PARKED, failed=False):
            return
        self._parked.update(dict.fromkeys(tasks, parent))
        for task in tasks:
            found = self._store.get(task)
            if found is not None and found.state.is_terminal and self._parked.pop(task, ""):
                self._unpark(parent)

    async def _call(self, spec: AgentSpec, turn: _Turn) -> None:
        argument = spec.argument(turn.context.history[0])
        given = (argument, turn.context) if spec.takes_context else (argument,)
        if isinstance(turn.context, AgentContext):
            made = spec.call(*given)
            if inspect.isasyncgen(made):
                await _gather(turn.context, made)
            else:
                _result(turn.context, await made)
        else:
            await self._loop.run_in_executor(self._threads, _plain, spec, turn.context, given)


class _Waiting:
    """Implements ``Waiting`` for one turn."""

    def __init__(self, host: AgentHost, store: TaskStore, places: Places) -> None:
        self._host = host
        self._store = store
        self._places = places
        self._expected: dict[str, asyncio.Event] = {}

    @property
    def instance(self) -> str:
        return self._host.instance

    def expect(self, task: str) -> None:
        self._expected[task] = self._host.expect(task)

    def forget(self) -> None:
        """Wait for nothing any more."""
        for task, event in self._expected.items():
            self._host.forget(task, event, news=False)

    async def news(self, task: str, *, after: int) -> Sequence[TaskUpdate]:
        self._places.give()
        try:
            while not (found := self._store.updates(task, after=after)):
                await self._host.listen(task, asyncio.Event(), news=True)
        finally:
            self._places.take()
        return found

    async def ended(self, task: str, *, look: bool) -> Task:
        event = self._expected.pop(task, None) or asyncio.Event()
        self._places.give()
        try:
            while True:
                if not look:
                    await self._host.listen(task, event, news=False)
                    event = asyncio.Event()
                look = False
                found = self._store.get(task)
                if found is None:
                    raise AgentTaskError(f"task {task!r} is gone: it is past its retention")
                if found.state.is_terminal or found.state is TaskState.INPUT_REQUIRED:
                    return found
        finally:
            self._host.forget(task, event, news=False)
            self._places.take()


def _plain(spec: AgentSpec, context: BlockingAgentContext, given: Sequence[Any]) -> None:
    made = spec.call(*given)
    if not inspect.isgenerator(made):
        _result(context, made)
        return
    for piece in made:
        context.chunk(piece)


async def _gather(context: AgentContext, pieces: AsyncIterator[Any]) -> None:
    async for piece in pieces:
        context.chunk(piece)


def _result(context: AgentContext | BlockingAgentContext, made: Any) -> None:
    """Hand over what a function returned."""
    if isinstance(made, Task):
        for artifact in made.artifacts:
            context.artifact(artifact)
    elif isinstance(made, Artifact):
        context.artifact(made)
    elif made is not None:
        parts = made.parts if isinstance(made, Message) else parts_of(made)
        context.artifact(list(parts), id="result")
