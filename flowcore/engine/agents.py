"""Calling an agent: found by name or skill, understood, told, rung.

In: whom, and what to say. Out: a task that the store knows of. Not here: waiting for its end, or
the agent's own side (backends.a2a).
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

import msgpack

from flowcore.agents.agent import negotiate
from flowcore.agents.message import PROTOCOL_VERSION, Json, Message, Role, Task, TaskState, parts_of
from flowcore.errors import (
    AgentCallLimitError,
    AgentNotFoundError,
    AgentTaskError,
    AgentTaskStateError,
    UsageError,
)
from flowcore.ports.agents import AgentDirectory, NewTask, TaskStore

__all__ = ["MAX_DEPTH", "Bell", "Call", "Caller", "chain_of", "completed", "find"]

#: Agents that wait for one another, one below the other.
MAX_DEPTH = 16
_FRESH = 1.0


class Bell(Protocol):
    """Rings agents: sends what only wakes them, since the store has the rest."""

    def ring(self, agent: str, task: str, message: Json | None = None) -> None:
        """Ring; a broker out of reach is only logged, since a janitor rings again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What to say, to whom."""

    content: Any
    """Text, data, bytes, parts or a Message."""
    agent: str | None = None
    skill: str | None = None
    task: str | None = None
    """A task that goes on with this, such as one that asked."""
    context: str = ""
    references: tuple[str, ...] = ()
    deadline: float | None = None
    """Seconds in which the task has to end."""
    accept: tuple[str, ...] = ()
    """Media types that the caller takes; none means all."""
    version: str = PROTOCOL_VERSION
    message_id: str | None = None
    """Said twice, it counts once."""
    new_task: str | None = None
    """The id of the task to begin."""
    notify: str = ""
    chain: tuple[str, ...] = field(default=())
    """The agents that wait for this one, the first of them first."""


class Caller:
    """Begins tasks, and goes on with them."""

    def __init__(self, store: TaskStore, directory: AgentDirectory, bell: Bell) -> None:
        """Use these ports."""
        self.store = store
        self.directory = directory
        self._bell = bell
        self._cards: dict[str, Json] = {}
        self._looked = -_FRESH

    def begin(self, call: Call) -> str:
        """Say it; return the task.

        Raises:
            AgentNotFoundError: Nobody has this name or skill, or there is no such task.
            AgentNegotiationError: The two sides do not understand each other.
            AgentCallLimitError: The calls are too deep, or go in a circle.
            AgentTaskStateError: The task has ended.
        """
        if call.task is not None:
            return self._go_on(call)
        card = self._card(call)
        name: str = card["name"]
        _check_chain(name, call.chain)
        parts = parts_of(call.content)
        negotiate(card, parts, accept=call.accept, version=call.version)
        message_id = call.message_id or _id_of(call.content) or uuid.uuid4().hex
        task = call.new_task or f"t{message_id}"
        context = call.context or f"c{message_id}"
        message = Message(
            parts=parts,
            role=Role.USER,
            message_id=message_id,
            task_id=task,
            context_id=context,
            reference_task_ids=call.references,
            metadata={"flowcore/chain": list(call.chain)} if call.chain else {},
        ).to_json()
        new = NewTask(
            task=task,
            agent=name,
            message_id=message_id,
            message=msgpack.packb(message),
            context=context,
            deadline=call.deadline,
            notify=call.notify,
        )
        if self.store.tell(new).ring:
            self._bell.ring(name, task, message)
        return task

    def ring(self, agent: str, task: str) -> None:
        """Ring an agent for a task that is known to it."""
        self._bell.ring(agent, task)

    def _go_on(self, call: Call) -> str:
        task = self.store.get(call.task or "")
        if task is None:
            raise AgentNotFoundError(
                f"there is no task {call.task!r}; it may be past its retention"
            )
        message_id = call.message_id or _id_of(call.content) or uuid.uuid4().hex
        message = Message(
            parts=parts_of(call.content),
            message_id=message_id,
            task_id=task.id,
            context_id=task.context_id,
        ).to_json()
        new = NewTask(
            task=task.id,
            agent=task.agent,
            message_id=message_id,
            message=msgpack.packb(message),
            context=task.context_id,
            create=False,
            notify=call.notify,
        )
        told = self.store.tell(new)
        if told.verdict == "finished":
            word = told.state.word
            raise AgentTaskStateError(f"task {task.id!r} is {word}; send a new message without it")
        if told.ring:
            self._bell.ring(task.agent, task.id, message)
        return task.id

    def _card(self, call: Call) -> Json:
        if (call.agent is None) == (call.skill is None):
            raise UsageError("name an agent, or a skill, and not both")
        key = f"a:{call.agent}" if call.agent is not None else f"s:{call.skill}"
        if monotonic() - self._looked > _FRESH or key not in self._cards:
            self._look()
        if key not in self._cards:
            known = ", ".join(sorted(each[2:] for each in self._cards if each[0] == key[0]))
            what = "live agent is called" if call.agent is not None else "live agent has the skill"
            msg = f"no {what} {key[2:]!r}; there are: {known or 'none'} (see 'flowcore agents')"
            raise AgentNotFoundError(msg)
        return self._cards[key]

    def _look(self) -> None:
        cards: dict[str, Json] = {}
        for note in self.directory.agents():
            if note.alive:
                cards.setdefault(f"a:{note.name}", note.card)
                for skill in note.card["skills"]:
                    cards.setdefault(f"s:{skill['id']}", note.card)
        self._cards, self._looked = cards, monotonic()


def chain_of(message: Message, agent: str) -> tuple[str, ...]:
    """Return the chain of those who wait, as an agent that got this message passes it on."""
    return (*message.metadata.get("flowcore/chain", ()), agent)


def completed(task: Task) -> Task:
    """Return a task that completed, or that asks.

    Raises:
        AgentTaskError: It ended otherwise.
    """
    if task.state in {TaskState.COMPLETED, TaskState.INPUT_REQUIRED}:
        return task
    why = f": {task.reason}" if task.reason else ""
    raise AgentTaskError(f"task {task.id!r} of agent {task.agent!r} is {task.state.word}{why}")


def find(
    directory: AgentDirectory, *, skill: str | None = None, tag: str | None = None
) -> Sequence[Any]:
    """Return the notes of agents, dead ones included, with a skill and a tag."""

    def fits(card: Json) -> bool:
        skills = card["skills"]
        named = skill is None or any(each["id"] == skill for each in skills)
        return named and (tag is None or any(tag in each["tags"] for each in skills))

    return [note for note in directory.agents() if fits(note.card)]


def _id_of(content: Any) -> str | None:
    return content.message_id if isinstance(content, Message) else None


def _check_chain(name: str, chain: Sequence[str]) -> None:
    shown = " -> ".join([*chain, name])
    if name in chain:
        raise AgentCallLimitError(f"agents would call each other in a circle: {shown}")
    if len(chain) >= MAX_DEPTH:
        raise AgentCallLimitError(f"agents call each other more than {MAX_DEPTH} deep: {shown}")
