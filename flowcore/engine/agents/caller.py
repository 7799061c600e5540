"""Calling an agent: found by name or skill, understood, told, rung.

In: whom, and what to say. Out: a task that the store knows of. Not here: waiting for its end, or
the agent's own side (backends.a2a).
"""

import math
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Protocol

from flowcore.agents.agent import negotiate
from flowcore.agents.message import (
    PROTOCOL_VERSION,
    Json,
    Message,
    Part,
    Role,
    Task,
    TaskState,
    parts_of,
)
from flowcore.engine.agents.messages import check_id, message_body, message_digest
from flowcore.errors import (
    AgentCallLimitError,
    AgentNotFoundError,
    AgentTaskError,
    AgentTaskStateError,
    UsageError,
)
from flowcore.ports.agents import AgentDirectory, AgentInstance, NewTask, TaskStore
from flowcore.ports.listing import Listing

__all__ = [
    "MAX_DEPTH",
    "MAX_HOPS",
    "AgentCaller",
    "AgentNotifier",
    "Call",
    "chain_of",
    "completed",
    "find",
    "hops_of",
]

#: Agents that wait for one another, one below the other.
MAX_DEPTH = 16
#: Agents that are told something one because of the other, whether anyone waits or not.
MAX_HOPS = 32
#: The longest deadline, in seconds: a hundred years.
MAX_DEADLINE = 100 * 366 * 86_400.0
_CHAIN, _HOPS, _OWN = "flowcore/chain", "flowcore/hops", "flowcore/"
_FRESH = 1.0


class AgentNotifier(Protocol):
    """Rings agents: sends what only wakes them, since the store has the rest."""

    def ring(self, agent: str, task: str, message: Json | None = None) -> None:
        """Ring; a broker out of reach is only logged, since a janitor rings again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A message and its recipient."""

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
    """Said twice with the same content to the same agent, it counts once."""
    owner: str = ""
    """Whose task it is; empty for those of the project itself."""
    new_task: str | None = None
    """The id of the task to begin; made from what is said when left out."""
    parent: str = ""
    """The task that waits for this one."""
    notify: str = ""
    chain: tuple[str, ...] = field(default=())
    """The agents that wait for this one, the first of them first."""
    hops: int = 0
    """How many agents have been told something, one because of the other, to come to this."""


class AgentCaller:
    """Begins tasks, and goes on with them."""

    def __init__(self, store: TaskStore, directory: AgentDirectory, bell: AgentNotifier) -> None:
        """Use these ports."""
        self.store = store
        self.directory = directory
        self._bell = bell
        self._cards: dict[str, Json] = {}
        self._looked = -_FRESH

    def begin(self, call: Call) -> str:
        """Say it; return the task.

        Raises:
            UsageError: Something in it cannot be said.
            AgentNotFoundError: Nobody has this name or skill, or there is no such task.
            AgentNegotiationError: The two sides do not understand each other.
            AgentCallLimitError: The calls are too deep, or go in a circle.
            AgentTaskStateError: The task has ended.
        """
        _check_deadline(call.deadline)
        call = _with_message(call)
        if call.task is not None:
            return self._go_on(call)
        card = self._card(call)
        name: str = card["name"]
        _check_chain(name, call)
        message = _message_of(call)
        label = f"message to agent {name!r}"
        unsent = message_body(message, label=label)
        negotiate(card, message.parts, accept=call.accept, version=call.version)
        key = message_digest(unsent, owner=call.owner, agent=name, message_id=message.message_id)
        task = call.new_task or f"t{key}"
        context = call.context or f"c{key}"
        message = replace(message, task_id=task, context_id=context)
        new = NewTask(
            task=task,
            agent=name,
            counts_as=key,
            message=message_body(message, label=label),
            context=context,
            deadline=call.deadline,
            notify=call.notify,
            parent=call.parent,
            owner=call.owner,
        )
        told = self.store.tell(new)
        if told.verdict == "abandoned":
            raise AgentTaskStateError(f"task {call.parent!r} has ended and can call nobody")
        if told.ring:
            self._bell.ring(name, task, message.to_json())
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
        _check_same(call, task)
        _check_hops(task.agent, call)
        message = replace(_message_of(call), task_id=task.id, context_id=task.context_id)
        body = message_body(message, label=f"message to task {task.id!r}")
        new = NewTask(
            task=task.id,
            agent=task.agent,
            counts_as=message_digest(
                body, owner=call.owner, agent=task.agent, message_id=message.message_id
            ),
            message=body,
            context=task.context_id,
            create=False,
            notify=call.notify,
        )
        told = self.store.tell(new)
        if told.verdict == "finished":
            word = told.state.word
            raise AgentTaskStateError(f"task {task.id!r} is {word}; send a new message without it")
        if told.ring:
            self._bell.ring(task.agent, task.id, message.to_json())
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
    found = message.metadata.get(_CHAIN, ())
    chain = found if isinstance(found, list | tuple) else ()
    return (*(each for each in chain if isinstance(each, str)), agent)


def hops_of(messages: Sequence[Message]) -> int:
    """Return how many agents have been told something, up to the one told these messages."""
    found = (message.metadata.get(_HOPS) for message in messages)
    return 1 + max((each for each in found if isinstance(each, int)), default=0)


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
) -> Listing[AgentInstance]:
    """Return the notes of agents, dead ones included, with a skill and a tag."""

    def fits(card: Json) -> bool:
        skills = card["skills"]
        named = skill is None or any(each["id"] == skill for each in skills)
        return named and (tag is None or any(tag in each["tags"] for each in skills))

    notes = directory.agents()
    select_declared = (note for note in notes if fits(note.card))
    return Listing(select_declared, unreadable=notes.unreadable)


def _with_message(call: Call) -> Call:
    """Take over what a Message says of itself; what the call says goes before."""
    said = call.content
    if not isinstance(said, Message):
        return call
    if call.task and said.task_id and call.task != said.task_id:
        raise UsageError(f"the message is for task {said.task_id!r}, the call for {call.task!r}")
    return replace(
        call,
        task=call.task or said.task_id or None,
        context=call.context or said.context_id,
        message_id=call.message_id or said.message_id,
        references=(*said.reference_task_ids, *call.references),
    )


def _message_of(call: Call) -> Message:
    said = call.content.metadata if isinstance(call.content, Message) else {}
    if not isinstance(said, Mapping):
        raise UsageError("the metadata of a message is a map")
    metadata = {key: value for key, value in said.items() if not str(key).startswith(_OWN)}
    if call.chain:
        metadata[_CHAIN] = list(call.chain)
    if call.hops:
        metadata[_HOPS] = call.hops
    parts: tuple[Part, ...] = parts_of(call.content)
    message_id = uuid.uuid4().hex if call.message_id is None else call.message_id
    return Message(
        parts=parts,
        role=Role.USER,
        message_id=check_id(message_id, "a messageId"),
        context_id=check_id(call.context, "a contextId") if call.context else "",
        reference_task_ids=tuple(check_id(each, "a task's id") for each in call.references),
        metadata=metadata,
    )


def _check_same(call: Call, task: Task) -> None:
    """Refuse to go on with a task that is not the one that is meant."""
    if call.agent is not None and call.agent != task.agent:
        raise UsageError(f"task {task.id!r} is one of agent {task.agent!r}, not of {call.agent!r}")
    if call.context and call.context != task.context_id:
        msg = f"task {task.id!r} belongs to the context {task.context_id!r}, not {call.context!r}"
        raise UsageError(msg)


def _check_deadline(deadline: object) -> None:
    if deadline is None:
        return
    is_number = isinstance(deadline, int | float) and not isinstance(deadline, bool)
    if not is_number or not math.isfinite(deadline) or not 0 <= deadline <= MAX_DEADLINE:  # type: ignore[arg-type,operator]
        msg = (
            f"deadline is a number of seconds, from 0 to a hundred years, and not {deadline!r:.80}"
        )
        raise UsageError(msg)


def _check_chain(name: str, call: Call) -> None:
    shown = " -> ".join([*call.chain, name])
    if name in call.chain:
        raise AgentCallLimitError(f"agents would call each other in a circle: {shown}")
    if len(call.chain) >= MAX_DEPTH:
        raise AgentCallLimitError(f"agents call each other more than {MAX_DEPTH} deep: {shown}")
    _check_hops(name, call)


def _check_hops(name: str, call: Call) -> None:
    if call.hops > MAX_HOPS:
        raise AgentCallLimitError(
            f"one message has led to {call.hops} others in a row, the last to agent {name!r}; at "
            f"most {MAX_HOPS} may: do agents tell each other things in a circle?"
        )
