"""Definition of an agent: a function and its card.

In: a function. Out: an AgentSpec, whose card is the protocol's. Not here: running it
(backends.a2a).
"""

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flowcore.agents.message import PROTOCOL_VERSION, Json, Message, Part
from flowcore.errors import AgentNegotiationError, UsageError
from flowcore.types import parse_duration

__all__ = ["AgentSpec", "InputRequired", "Rejected", "Skill", "agent", "check_card", "negotiate"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_ANY = ("text/plain", "application/json")


class InputRequired(Exception):  # noqa: N818  (no error: the task goes on with the answer)
    """Raised by an agent that needs an answer; nothing is held while it waits."""

    def __init__(self, question: Any) -> None:
        """Ask."""
        super().__init__(str(question))
        self.question = question


class Rejected(Exception):  # noqa: N818  (the protocol's word)
    """Raised by an agent that will not do the task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """Something an agent can do; found by its id."""

    id: str
    name: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()

    def to_json(self) -> Json:
        """Write the protocol's JSON."""
        name = self.name or self.id
        about = self.description or name
        return {"id": self.id, "name": name, "description": about, "tags": list(self.tags)}


@functools.lru_cache(maxsize=1024)
def _parameters(call: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    return tuple(inspect.signature(call).parameters.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """An agent: a function and how it is hosted."""

    name: str
    call: Callable[..., Any]
    description: str = ""
    version: str = "1"
    skills: tuple[Skill, ...] = ()
    tags: tuple[str, ...] = ()
    input_modes: tuple[str, ...] = _ANY
    output_modes: tuple[str, ...] = _ANY
    max_concurrency: int = 8
    timeout: float | None = None
    """Seconds for one run of the function."""
    retries: int = 0
    """How often it is tried again after an error."""

    def __flowcore_agent__(self) -> Callable[..., Any]:
        """Mark an agent, which a definition may name once its module is imported."""
        return self.call

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as a test does."""
        return self.call(*args, **kwargs)

    def card(self, *, queue: str) -> Json:
        """Write the protocol's card; the queue stands for an address.

        The protocol wants at least one skill: without any, the agent is one, of its own name.
        """
        about = {"protocolBinding": "flowcore", "protocolVersion": PROTOCOL_VERSION}
        skills = self.skills or (Skill(id=self.name, description=self.description),)
        return {
            "name": self.name,
            "description": self.description,
            "version": self.version,
            "supportedInterfaces": [{"url": f"queue:{queue}", **about}],
            "capabilities": {"streaming": True, "pushNotifications": False},
            "defaultInputModes": list(self.input_modes),
            "defaultOutputModes": list(self.output_modes),
            # The protocol wants tags of each: without any, the agent's name is one.
            "skills": [
                {
                    **skill.to_json(),
                    "tags": [*dict.fromkeys((*skill.tags, *self.tags))] or [self.name],
                }
                for skill in skills
            ],
        }

    def argument(self, message: Message) -> Any:
        """Give the function's first parameter what its annotation asks for."""
        wanted = next((each.annotation for each in _parameters(self.call)), None)
        if wanted in {Message, "Message"}:
            return message
        if wanted in {str, "str"}:
            return message.text
        return message.data if message.data is not None else message.text

    @property
    def is_async(self) -> bool:
        """True if it runs on an event loop: a coroutine, or an async generator."""
        called = getattr(self.call, "__call__", None)  # noqa: B004  (asks for the coroutine flag)
        return any(
            inspect.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
            for each in (self.call, called)
        )

    @property
    def takes_context(self) -> bool:
        """True if the function has a second parameter."""
        return len(_parameters(self.call)) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    description: str = ""
    version: str = "1"
    skills: Sequence[Skill | str] = ()
    tags: Sequence[str] = ()
    input_modes: Sequence[str] = _ANY
    output_modes: Sequence[str] = _ANY
    max_concurrency: int = 8
    timeout: float | str | None = None
    retries: int = 0


def _check_options(name: str, given: _Options, timeout: float | None) -> None:
    for option, kind, kind_name in (
        ("max_concurrency", int, "a whole number"),
        ("retries", int, "a whole number"),
        ("description", str, "a text"),
        ("version", str, "a text"),
    ):
        if not isinstance(getattr(given, option), kind):
            raise UsageError(f"agent {name!r}: {option} is {kind_name}")
    if given.max_concurrency < 1 or given.retries < 0:
        raise UsageError(f"agent {name!r}: max_concurrency is at least 1, retries at least 0")
    if timeout is not None and timeout <= 0:
        raise UsageError(f"agent {name!r}: timeout is more than 0 seconds")
    _check_lists(name, given)


def _check_lists(name: str, given: _Options) -> None:
    for option in ("skills", "tags", "input_modes", "output_modes"):
        value = getattr(given, option)
        kinds = (str, Skill) if option == "skills" else (str,)
        if isinstance(value, str) or not all(isinstance(each, kinds) for each in value):
            raise UsageError(f"agent {name!r}: {option} is a list of texts, and not {value!r:.80}")


def agent(name: str, **options: Any) -> Callable[[Callable[..., Any]], AgentSpec]:
    """Make a function an agent.

    Args:
        name: Its name: small letters, digits, ``-`` and ``_``; other agents call it by that.
        **options: ``description``, ``version``, ``skills`` (ids or ``Skill``), ``tags``,
            ``input_modes`` and ``output_modes`` (media types), ``max_concurrency`` (tasks at once
            in one worker), ``timeout`` (of one run), ``retries``.

    Raises:
        UsageError: A name or an option cannot be.
    """
    if not _NAME.fullmatch(name):
        msg = f"an agent's name is small letters, digits, - and _, such as 'researcher': {name!r}"
        raise UsageError(msg)
    try:
        given = _Options(**options)
        timeout = None if given.timeout is None else float(parse_duration(given.timeout))
    except (TypeError, ValueError) as error:
        raise UsageError(f"agent {name!r}: {error}") from error
    _check_options(name, given, timeout)

    def decorate(function: Callable[..., Any]) -> AgentSpec:
        return AgentSpec(
            name=name,
            call=function,
            description=given.description or inspect.getdoc(function) or name,
            version=given.version,
            skills=tuple(
                Skill(id=skill) if isinstance(skill, str) else skill for skill in given.skills
            ),
            tags=tuple(given.tags),
            input_modes=tuple(given.input_modes),
            output_modes=tuple(given.output_modes),
            max_concurrency=given.max_concurrency,
            timeout=timeout,
            retries=given.retries,
        )

    return decorate


def negotiate(card: Json, parts: Sequence[Part], *, accept: Sequence[str], version: str) -> None:
    """See whether an agent understands what it is sent, and is understood.

    Args:
        card: The agent's.
        parts: What is sent.
        accept: Media types that the caller takes; none means all.
        version: The protocol that the caller speaks.

    Raises:
        AgentNegotiationError: It does not; names what each side offers.
    """
    name = card["name"]
    spoken = [each["protocolVersion"] for each in card["supportedInterfaces"]]
    if version not in spoken:
        offer = ", ".join(spoken)
        raise AgentNegotiationError(f"agent {name!r} speaks A2A {offer}; the caller {version}")
    taken = card["defaultInputModes"]
    odd = sorted({part.mode for part in parts} - set(taken))
    if odd and "*/*" not in taken:
        msg = f"agent {name!r} takes {', '.join(taken)}; the message has {', '.join(odd)}"
        raise AgentNegotiationError(msg)
    made = card["defaultOutputModes"]
    if accept and "*/*" not in accept and not set(accept) & set(made):
        msg = f"agent {name!r} gives {', '.join(made)}; the caller takes {', '.join(accept)}"
        raise AgentNegotiationError(msg)


def check_card(card: Any) -> Json:
    """Return a card, as somebody has stored it, if it has what is read of one.

    Raises:
        ValueError: It has not; says where.
    """
    if not isinstance(card, dict):
        raise ValueError(f"the card is {type(card).__name__}, not an object")  # noqa: TRY004
    for name in ("name", "description"):
        _check(card, name, isinstance(card.get(name), str))
    for name in ("defaultInputModes", "defaultOutputModes"):
        _check(card, name, _are(str, card.get(name)))
    _check(card, "skills", _are(dict, card.get("skills")))
    for skill in card["skills"]:
        _check(skill, "id", isinstance(skill.get("id"), str))
        _check(skill, "tags", _are(str, skill.get("tags")))
    _check(card, "supportedInterfaces", _are(dict, card.get("supportedInterfaces")))
    for each in card["supportedInterfaces"]:
        _check(each, "protocolVersion", isinstance(each.get("protocolVersion"), str))
    return card


def _are(kind: type, values: object) -> bool:
    return isinstance(values, list) and all(isinstance(each, kind) for each in values)


def _check(where: Json, name: str, is_right: bool) -> None:  # noqa: FBT001  (the one thing it is told)
    if not is_right:
        raise ValueError(f"the card's {name!r} is missing or of a wrong type: {where.get(name)!r}")
