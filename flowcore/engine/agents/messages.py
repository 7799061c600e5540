"""Messages to and from agents: strict where they are sent, lenient where they are read.

In: messages and artifacts with a user's own content. Out: their msgpack, or an error that names
the place; and back, where what cannot be read stands as a text that says so. Also the ids of tasks
and messages. Not here: the store, who is called.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgpack

from flowcore.agents.message import Artifact, Json, Message, Part, Role
from flowcore.engine.values.event_limits import shorten
from flowcore.errors import UnsupportedValueError, UsageError
from flowcore.run.wire import pack, unpack

__all__ = [
    "MAX_DATA_DEPTH",
    "MAX_MESSAGE",
    "UNREADABLE",
    "artifact_body",
    "check_id",
    "error_text",
    "message_body",
    "message_digest",
    "read_artifact",
    "read_message",
    "same_key",
]

#: Bytes of one message, or of one piece of an artifact.
MAX_MESSAGE = 2**20
#: Lists and maps inside each other.
MAX_DATA_DEPTH = 64
#: Characters of what an error says.
MAX_ERROR = 10_000
#: Metadata that says that a message could not be read.
UNREADABLE = "flowcore/unreadable"
_MAX_ID = 512

_T = TypeVar("_T")


def message_body(message: Message, *, label: str) -> bytes:
    """Pack a message.

    Args:
        message: What is said.
        label: How an error names it, such as ``message to agent 'echo'``.

    Raises:
        UnsupportedValueError: Something in it cannot travel as JSON, or it is too large.
    """
    return _body(message.parts, message.to_json, label=label)


def artifact_body(artifact: Artifact, *, label: str) -> bytes:
    """Pack an artifact.

    Raises:
        UnsupportedValueError: Something in it cannot travel as JSON, or it is too large.
    """
    return _body(artifact.parts, artifact.to_json, label=label)


def read_message(body: bytes) -> Message:
    """Read a message; one that cannot be read has a text that says so, and its metadata too."""
    return _read(body, Message.from_json, _unreadable_message)


def read_artifact(body: bytes) -> Artifact:
    """Read an artifact; one that cannot be read has a text that says so."""
    return _read(body, Artifact.from_json, _unreadable_artifact)


def error_text(error: BaseException) -> str:
    """Return what an error says, whatever its class does: bounded, and text that can travel."""
    try:
        words = str(error)
    except BaseException as trouble:  # noqa: BLE001  (the text of a failure never fails in turn)
        words = f"(its text cannot be shown: {type(trouble).__name__})"
    found = f"{type(error).__name__}: {words}" if words else type(error).__name__
    return shorten(found.encode("utf-8", "backslashreplace").decode(), MAX_ERROR)


def check_id(value: object, label: str) -> str:
    """Return an id that somebody outside has chosen.

    Raises:
        UsageError: It is not text, empty, too long, or has characters that do not print.
    """
    if not isinstance(value, str) or not value:
        raise UsageError(f"{label} is a text of 1 to {_MAX_ID} characters, and not {value!r:.80}")
    if len(value) > _MAX_ID or not value.isprintable():
        msg = f"{label} is a text of 1 to {_MAX_ID} printable characters, and not {value!r:.80}"
        raise UsageError(msg)
    return value


def message_digest(body: bytes, *, owner: str, agent: str, message_id: str) -> str:
    """Return what a message counts as: the same owner, agent, messageId and content are one."""
    return same_key(owner, agent, message_id, hashlib.blake2b(body, digest_size=16).hexdigest())


def same_key(*words: str) -> str:
    """Return a key of some words that no other words have; hexadecimal, whatever they contain."""
    packed = msgpack.packb(words)
    return hashlib.blake2b(packed, digest_size=16).hexdigest()


def _body(parts: Iterable[Part], to_json: Callable[[], Json], *, label: str) -> bytes:
    for number, part in enumerate(parts, 1):
        _check_part(part, f"part {number} of {label}")
    try:
        found = to_json()
    except (AttributeError, TypeError, ValueError) as error:
        raise UnsupportedValueError(f"{label} cannot be sent: {error}") from error
    packed = pack(found, what=label)
    if len(packed) > MAX_MESSAGE:
        raise UnsupportedValueError(
            f"{label} has {len(packed):,} bytes, and may have {MAX_MESSAGE:,}: keep it elsewhere, "
            "and say where (a path, a key, a URL)"
        )
    _check_json(unpack(packed), label)
    return packed


def _check_part(part: object, label: str) -> None:
    if not isinstance(part, Part):
        raise UnsupportedValueError(f"{label} is not a Part, but {type(part).__name__}")
    for name, kind in (("text", str), ("raw", bytes), ("url", str)):
        value = getattr(part, name)
        if value is not None and not isinstance(value, kind):
            found = type(value).__name__
            raise UnsupportedValueError(f"{label} has a {name} that is no {kind.__name__}: {found}")
    contents = [each for each in (part.text, part.data, part.raw, part.url) if each is not None]
    if len(contents) > 1:
        raise UnsupportedValueError(f"{label} has more than one of text, data, raw and url")
    for name in ("media_type", "filename"):
        if not isinstance(getattr(part, name), str):
            raise UnsupportedValueError(f"{label} has a {name} that is not text")


def _check_json(value: Any, label: str) -> None:
    """Refuse what JSON cannot say; nothing of the value's depth is on the interpreter's stack."""
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        if depth > MAX_DATA_DEPTH:
            msg = f"{label} has lists and maps more than {MAX_DATA_DEPTH} deep"
            raise UnsupportedValueError(msg)
        if isinstance(each, dict):
            odd = next((key for key in each if not isinstance(key, str)), None)
            if odd is not None:
                raise UnsupportedValueError(f"{label} has the key {odd!r:.80}; keys are texts")
            waiting.extend((inner, depth + 1) for inner in each.values())
        elif isinstance(each, list):
            waiting.extend((inner, depth + 1) for inner in each)
        else:
            _check_scalar(each, label)


def _check_scalar(value: Any, label: str) -> None:
    if isinstance(value, bytes):
        msg = f"{label} has bytes in its data; give them a part of their own: Part(raw=…)"
        raise UnsupportedValueError(msg)
    if isinstance(value, float) and not math.isfinite(value):
        raise UnsupportedValueError(f"{label} has the number {value}, which JSON cannot represent")


def _read(body: bytes, read: Callable[[Json], _T], otherwise: Callable[[], _T]) -> _T:
    try:
        return _checked(read(msgpack.unpackb(body)))
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError, UsageError):
        return otherwise()


def _checked(found: _T) -> _T:
    """Refuse what has the protocol's fields with something else in them."""
    if isinstance(found, Message | Artifact):
        for part in found.parts:
            _check_part(part, "part")
    if isinstance(found, Message) and not isinstance(found.metadata, Mapping):
        raise TypeError("metadata is a map")
    return found


def _unreadable_message() -> Message:
    text = "(what was said here cannot be read)"
    return Message(
        parts=(Part(text=text),), role=Role.AGENT, message_id="?", metadata={UNREADABLE: True}
    )


def _unreadable_artifact() -> Artifact:
    return Artifact(artifact_id="?", parts=(Part(text="(what was made here cannot be read)"),))
