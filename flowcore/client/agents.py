"""Agents from outside: what a web process or a script says to them.

In: text or data for an agent. Out: tasks and their events. Every call has an async twin.
"""

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from flowcore.agents.message import Task, TaskState, TaskUpdate
from flowcore.assembly.session import Session, default_session
from flowcore.client.threads import in_thread, refuse_in_loop
from flowcore.engine.agents.caller import Call, completed, find
from flowcore.engine.agents.messages import check_id
from flowcore.errors import AgentNotFoundError, AgentTaskStateError, AgentWaitError, UsageError
from flowcore.ports.agents import AgentInstance
from flowcore.ports.listing import Listing

__all__ = ["AgentClient"]

_LOOK = 1.0
_OPTIONS = ("skill", "task", "deadline", "message_id", "accept", "context", "version")


class AgentClient:
    """Talks to agents on workers."""

    def __init__(self, session: Session | None = None) -> None:
        """Use a session, or this process's own."""
        runtime = (session or default_session()).runtime
        self._caller, self._peers = runtime.agents.caller, runtime.peers

    def start(self, agent: str | None, content: Any, **given: Any) -> str:
        """Say something; return the task without waiting.

        Args:
            agent: Its name; None when ``skill`` or ``task`` is given.
            content: Text, data, bytes, parts or a Message, whose ids, metadata and references
                are kept.
            **given: ``skill``; ``task``, to go on with one that asked; ``deadline`` in seconds;
                ``message_id``, which counts once for an agent and a content, however often it is
                said; ``accept``, media types; ``context``; ``version`` of the protocol.

        Raises:
            UsageError: Something in it cannot be said.
            AgentError: There is no such agent or task, or they do not understand each other.
            VersionMismatchError: A worker of another wire number is live.
        """
        odd = ", ".join(sorted(set(given) - set(_OPTIONS)))
        if odd:
            raise UsageError(f"there is no {odd} to give; there are: {', '.join(_OPTIONS)}")
        if isinstance(given.get("accept"), str):
            given["accept"] = (given["accept"],)
        if given.get("task") is not None:
            check_id(given["task"], "a task's id")
        self._peers.check()
        return self._caller.begin(Call(agent=agent, content=content, **given))

    def send(self, agent: str | None, content: Any, *, timeout: float = 60.0, **given: Any) -> Task:
        """Say something and wait; return the task: completed, or input-required.

        Raises:
            AgentTaskError: It failed, was canceled or rejected.
            AgentWaitError: It took longer than ``timeout`` seconds, and goes on.
        """
        refuse_in_loop("AgentClient.send()", "AgentClient.asend()")
        return self.wait(self.start(agent, content, **given), timeout=timeout)

    def wait(self, task: str, *, timeout: float = 60.0) -> Task:
        """Wait for the end of a task, or for its question."""
        for update in self._follow(task, 0, timeout):
            if update.state.is_terminal:
                break
        return completed(self.get(task))

    def stream(
        self, agent: str | None, content: Any, *, timeout: float = 60.0, **given: Any
    ) -> Iterator[TaskUpdate]:
        """Say something and follow the task's events."""
        refuse_in_loop("AgentClient.stream()", "AgentClient.astream()")
        return self._follow(self.start(agent, content, **given), 0, timeout)

    def follow(self, task: str, *, after: int = 0, timeout: float = 60.0) -> Iterator[TaskUpdate]:
        """Follow a task's events, from one on."""
        self.get(task)
        return self._follow(task, after, timeout)

    def get(self, task: str) -> Task:
        """Return a task.

        Raises:
            AgentNotFoundError: There is none.
        """
        found = self._caller.store.get(check_id(task, "a task's id"))
        if found is None:
            raise AgentNotFoundError(f"there is no task {task!r}; it may be past its retention")
        return found

    def cancel(self, task: str) -> Task:
        """End a task as canceled, wherever it is, and what it waits for.

        Raises:
            AgentNotFoundError: There is none.
            AgentTaskStateError: It has ended already.
        """
        told = self._caller.store.cancel(check_id(task, "a task's id"))
        if told.verdict == "finished":
            msg = f"task {task!r} is {told.state.word} and cannot be canceled"
            raise AgentTaskStateError(msg)
        return self.get(task)

    def agents(self, *, skill: str | None = None, tag: str | None = None) -> Listing[AgentInstance]:
        """Return who is there, dead ones included; ``.unreadable`` names damaged cards."""
        return find(self._caller.directory, skill=skill, tag=tag)

    def dead_letters(self) -> Listing[Task]:
        """Return tasks that were given up because their workers died."""
        return self._caller.store.dead()

    def requeue(self, task: str) -> None:
        """Try a dead letter again.

        Raises:
            AgentTaskStateError: It is none.
        """
        bell = self._caller.store.requeue(check_id(task, "a task's id"))
        if bell is None:
            raise AgentTaskStateError(
                f"task {task!r} is not a dead letter; see 'flowcore agents --dead'"
            )
        self._caller.ring(bell.agent, bell.task)

    async def astart(self, agent: str | None, content: Any, **given: Any) -> str:
        """Do what ``start`` does."""
        return await in_thread(lambda: self.start(agent, content, **given))

    async def asend(
        self, agent: str | None, content: Any, *, timeout: float = 60.0, **given: Any
    ) -> Task:
        """Do what ``send`` does."""
        task = await self.astart(agent, content, **given)
        return await in_thread(lambda: self.wait(task, timeout=timeout))

    async def astream(
        self, agent: str | None, content: Any, *, timeout: float = 60.0, **given: Any
    ) -> AsyncIterator[TaskUpdate]:
        """Do what ``stream`` does."""
        updates = self._follow(await self.astart(agent, content, **given), 0, timeout)
        while (update := await in_thread(lambda: next(updates, None))) is not None:
            yield update

    async def aget(self, task: str) -> Task:
        """Do what ``get`` does."""
        return await in_thread(self.get, task)

    async def acancel(self, task: str) -> Task:
        """Do what ``cancel`` does."""
        return await in_thread(self.cancel, task)

    def _follow(self, task: str, after: int, timeout: float) -> Iterator[TaskUpdate]:
        ends = time.monotonic() + timeout
        while True:
            left = ends - time.monotonic()
            if left <= 0:
                msg = f"task {task!r} has not ended within {timeout:g} s; it continues"
                raise AgentWaitError(msg)
            last: TaskUpdate | None = None
            updates = self._caller.store.updates(task, after=after, wait=min(_LOOK, left))
            for last in updates:
                after = last.seq
                yield last
            if last is not None and self._is_over(task, last):
                return

    def _is_over(self, task: str, last: TaskUpdate) -> bool:
        if last.state.is_terminal:
            return True
        asks = last.state is TaskState.INPUT_REQUIRED
        return asks and self.get(task).state is TaskState.INPUT_REQUIRED
