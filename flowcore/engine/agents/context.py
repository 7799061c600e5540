"""Context of an agent's function, its argument beside the message.

In: a claimed task, and a way to call others. Out: events in the store, answers of other agents.
Not here: when the function runs (host).

A function may be run again: after a lost worker, an error, a question that was answered, or, if it
is no coroutine, an answer of an agent that it waited for. So its calls are numbered in
the order in which it makes them: a call that was made before gives the same task. Its events are
compared with those that were told before (event_writer).
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from flowcore.agents.agent import InputRequired
from flowcore.agents.message import (
    Artifact,
    Message,
    Role,
    Task,
    TaskState,
    TaskUpdate,
    parts_of,
)
from flowcore.engine.agents.caller import AgentCaller, Call, chain_of, completed, hops_of
from flowcore.engine.agents.event_writer import EventWriter
from flowcore.engine.agents.messages import UNREADABLE, message_body, read_message
from flowcore.errors import AgentTaskStateError, UnsupportedValueError, UsageError
from flowcore.ports.agents import TaskClaim

__all__ = [
    "AgentContext",
    "BlockingAgentContext",
    "SuspendUntilReplied",
    "Waiting",
    "has_ended",
    "said",
]


class SuspendUntilReplied(BaseException):
    """Leaves a function that is no coroutine until other agents have answered."""

    def __init__(self, tasks: Sequence[str]) -> None:
        """Name what it waits for."""
        super().__init__(", ".join(tasks))
        self.tasks = tuple(tasks)


class Waiting(Protocol):
    """The host's means to let an agent wait without holding a slot."""

    @property
    def instance(self) -> str:
        """Whom to tell of news."""
        ...

    def expect(self, task: str) -> None:
        """Be told that this task will be waited for."""
        ...

    async def news(self, task: str, *, after: int) -> Sequence[TaskUpdate]:
        """Return the events of a task after one, once there are any."""
        ...

    async def ended(self, task: str, *, look: bool) -> Task:
        """Return a task once it has ended, or asks; ``look`` if that may have been long ago."""
        ...


def said(content: Any, *, label: str) -> bytes:
    """Pack what an agent says with a new state.

    Raises:
        UnsupportedValueError: It cannot travel.
    """
    return message_body(Message(parts=parts_of(content), role=Role.AGENT), label=label)


class _Context:
    """Common part of both kinds of context."""

    #: Whether a call waits on the host's loop.
    _follows = False

    def __init__(self, claim: TaskClaim, caller: AgentCaller, waiting: Waiting) -> None:
        self._claim = claim
        self._caller = caller
        self._waiting = waiting
        self._calls = 0
        self._asked = 0
        self._unnamed = 0
        self.events = EventWriter(claim, caller.store)
        self.history = tuple(map(_readable, claim.messages))
        """All that the caller has said in this task, in order."""
        self.stopping = threading.Event()
        """Set when the task was canceled, is too late, or has been taken over."""

    @property
    def task_id(self) -> str:
        """The task; the same in every try."""
        return self._claim.hold.task

    @property
    def context_id(self) -> str:
        """Id of the context that this task and others belong to."""
        return self._claim.context

    @property
    def message(self) -> Message:
        """The caller's latest message; the function's own argument is the first one."""
        return self.history[-1]

    @property
    def attempt(self) -> int:
        """1, and one more after each error."""
        return self._claim.tries + 1

    def ask(self, question: Any) -> Message:
        """Ask the caller; nothing is held until it answers, then the function runs again.

        The same question, in the order in which they are asked, gives its answer from then on.

        Raises:
            InputRequired: There is no answer yet.
        """
        self._asked += 1
        if len(self.history) > self._asked:
            return self.history[self._asked]
        raise InputRequired(question)

    def status(self, text: str) -> None:
        """Say how it goes: an event of the task."""
        if not isinstance(text, str):
            raise UsageError(f"a status is a text, and not {type(text).__name__}")
        self._write(lambda: self.events.status(text))

    def artifact(self, content: Any, *, name: str = "", id: str | None = None) -> None:
        """Hand over a result, whole; without an id the n-th that is handed over is ``a<n>``."""
        if id is None:
            self._unnamed += 1
            id = f"a{self._unnamed}"
        piece = _artifact(content, id, name)
        self._write(lambda: self.events.whole(piece))

    def chunk(self, content: Any, *, id: str = "result") -> None:
        """Hand over a further piece of a result."""
        piece = _artifact(content, id, "")
        self._write(lambda: self.events.piece(piece))

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except AgentTaskStateError:
            self.stopping.set()
            raise

    def _next(self, call: Call, *, waits: bool = True, news: bool = False) -> str:
        self._calls += 1
        numbered = f"{self.task_id}.{self._calls}"
        if waits and self._follows:
            self._waiting.expect(call.task or numbered)
        return self._caller.begin(
            replace(
                _forwarded(call, self.task_id),
                chain=chain_of(self.history[0], self._claim.agent) if waits else (),
                hops=hops_of(self.history),
                notify=f"{self._waiting.instance}{'*' if news else ''}" if waits else "",
                message_id=numbered,
                new_task=numbered,
                parent=self.task_id if waits else "",
            )
        )

    def _handed(self, content: Any, given: Mapping[str, Any]) -> Call:
        return Call(
            content=self.history[0] if content is None else content,
            context=self.context_id,
            references=(self.task_id,),
            **given,
        )


class AgentContext(_Context):
    """Context of a coroutine or an async generator; its waits hold no slot."""

    _follows = True

    async def call(self, agent: str | None, content: Any, **given: Any) -> Task:
        """Ask another agent and wait for its result.

        Args:
            agent: Its name; None when ``skill`` is given.
            content: Text, data, bytes, parts or a Message.
            **given: ``skill``, ``task`` (to go on with one that asked), ``deadline`` in seconds,
                ``accept`` (media types), ``context``.

        Returns:
            The task: completed, or input-required.

        Raises:
            AgentTaskError: It failed, was canceled or rejected.
            AgentNotFoundError: There is no such agent.
            AgentNegotiationError: They do not understand each other.
            AgentCallLimitError: Too deep, or a circle.
        """
        task = self._next(Call(agent=agent, content=content, **given))
        return await self._finish(task)

    async def _finish(self, task: str) -> Task:
        return completed(await self._waiting.ended(task, look=self._claim.hold.token > 1))

    async def fan_out(self, calls: Sequence[tuple[str, Any]]) -> list[Task]:
        """Ask several agents at once; return their tasks in the same order."""
        tasks = [self._next(Call(agent=agent, content=content)) for agent, content in calls]
        return list(await asyncio.gather(*map(self._finish, tasks)))

    async def stream(
        self, agent: str | None, content: Any, **given: Any
    ) -> AsyncIterator[TaskUpdate]:
        """Ask another agent and follow what it says, to its end."""
        task = self._next(Call(agent=agent, content=content, **given), news=True)
        after = 0
        while True:
            for update in await self._waiting.news(task, after=after):
                after = update.seq
                yield update
                if update.state.is_terminal or update.state is TaskState.INPUT_REQUIRED:
                    return

    async def send(self, agent: str | None, content: Any, **given: Any) -> str:
        """Tell another agent something and go on; return the task."""
        return self._next(Call(agent=agent, content=content, **given), waits=False)

    async def delegate(self, agent: str | None, content: Any = None, **given: Any) -> Task:
        """Hand the task over, in the same context; returning what this returns passes it on."""
        return await self._finish(self._next(self._handed(content, {"agent": agent, **given})))


class BlockingAgentContext(_Context):
    """Context of a plain function: a call leaves it, and it runs again with the answer."""

    def call(self, agent: str | None, content: Any, **given: Any) -> Task:
        """Ask another agent; see ``AgentContext.call``."""
        (task,) = self._finish([self._next(Call(agent=agent, content=content, **given))])
        return task

    def fan_out(self, calls: Sequence[tuple[str, Any]]) -> list[Task]:
        """Ask several agents at once; return their tasks in the same order."""
        return self._finish(
            [self._next(Call(agent=agent, content=content)) for agent, content in calls]
        )

    def stream(self, *_: Any, **__: Any) -> None:
        """Refuse.

        Raises:
            UsageError: A plain function cannot follow another agent without holding a thread.
        """
        raise UsageError("only an 'async def' agent can stream another; use 'call' here")

    def send(self, agent: str | None, content: Any, **given: Any) -> str:
        """Tell another agent something and go on; return the task."""
        return self._next(Call(agent=agent, content=content, **given), waits=False)

    def delegate(self, agent: str | None, content: Any = None, **given: Any) -> Task:
        """Hand the task over, in the same context."""
        call = self._handed(content, {"agent": agent, **given})
        (task,) = self._finish([self._next(call)])
        return task

    def _finish(self, tasks: Sequence[str]) -> list[Task]:
        found = [self._caller.store.get(task) for task in tasks]
        ended = [each for each in found if each is not None and has_ended(each)]
        if len(ended) < len(tasks):
            raise SuspendUntilReplied(tasks)
        return [completed(each) for each in ended]


def has_ended(task: Task) -> bool:
    """Say whether whoever waits for a task has its answer: its end, or its question."""
    return task.state.is_terminal or task.state is TaskState.INPUT_REQUIRED


def _readable(body: bytes) -> Message:
    message = read_message(body)
    if message.metadata.get(UNREADABLE):
        raise UnsupportedValueError("what was said to the agent cannot be read")
    return message


def _artifact(content: Any, id: str, name: str) -> Artifact:
    if isinstance(content, Artifact):
        return content
    return Artifact(artifact_id=id, parts=parts_of(content), name=name)


def _forwarded(call: Call, task: str) -> Call:
    """Pass on what the agent was told itself: as its content, not as more of its own task."""
    said = call.content
    if isinstance(said, Message) and said.task_id == task:
        return replace(call, content=replace(said, task_id="", context_id=""))
    return call
