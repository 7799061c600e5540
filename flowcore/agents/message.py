"""The vocabulary of A2A 1.0: what agents say to each other.

In: the protocol's JSON, as maps. Out: frozen objects, and the same JSON again. Names of fields and
spellings of states are the protocol's own. Not here: where a task is kept (ports.agents).
"""

import base64
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self, TypeAlias

from flowcore.errors import UnsupportedValueError

__all__ = [
    "PROTOCOL_VERSION",
    "Artifact",
    "Json",
    "Message",
    "Part",
    "Role",
    "Task",
    "TaskState",
    "TaskUpdate",
    "artifacts_of",
    "parts_of",
    "text_of",
]

PROTOCOL_VERSION = "1.0"

Json: TypeAlias = dict[str, Any]


class Role(StrEnum):
    """Who speaks."""

    USER = "ROLE_USER"
    AGENT = "ROLE_AGENT"


class TaskState(StrEnum):
    """State of a task, as the protocol spells it."""

    SUBMITTED = "TASK_STATE_SUBMITTED"
    WORKING = "TASK_STATE_WORKING"
    INPUT_REQUIRED = "TASK_STATE_INPUT_REQUIRED"
    COMPLETED = "TASK_STATE_COMPLETED"
    FAILED = "TASK_STATE_FAILED"
    CANCELED = "TASK_STATE_CANCELED"
    REJECTED = "TASK_STATE_REJECTED"

    @property
    def is_terminal(self) -> bool:
        """True if the task has ended."""
        return self in _TERMINAL

    @property
    def word(self) -> str:
        """The state for people: ``input-required``."""
        return self.value.removeprefix("TASK_STATE_").lower().replace("_", "-")


_TERMINAL = frozenset(
    {TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED, TaskState.REJECTED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of content: exactly one of text, data, raw and url."""

    text: str | None = None
    data: Any = None
    raw: bytes | None = None
    url: str | None = None
    media_type: str = ""
    filename: str = ""

    @property
    def mode(self) -> str:
        """Its media type."""
        if self.media_type:
            return self.media_type
        if self.text is not None:
            return "text/plain"
        binary = self.raw is not None or self.url is not None
        return "application/octet-stream" if binary else "application/json"

    def to_json(self) -> Json:
        """Write the protocol's JSON."""
        if self.text is not None:
            found: Json = {"text": self.text}
        elif self.raw is not None:
            found = {"raw": base64.b64encode(self.raw).decode("ascii")}
        elif self.url is not None:
            found = {"url": self.url}
        else:
            found = {"data": self.data}
        more = {"mediaType": self.media_type, "filename": self.filename}
        return found | {key: value for key, value in more.items() if value}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Read the protocol's JSON."""
        raw = found.get("raw")
        return cls(
            text=found.get("text"),
            data=found.get("data"),
            raw=None if raw is None else base64.b64decode(raw),
            url=found.get("url"),
            media_type=found.get("mediaType", ""),
            filename=found.get("filename", ""),
        )


def parts_of(content: Any) -> tuple[Part, ...]:
    """Make parts of a plain value: text, bytes, a part, parts, or data."""
    if content is None:
        return ()
    if isinstance(content, Message | Artifact):
        return content.parts
    if isinstance(content, list | tuple) and any(isinstance(each, Part) for each in content):
        if not all(isinstance(each, Part) for each in content):
            msg = "a list of parts has something else in it; make it a Part, or give data alone"
            raise UnsupportedValueError(msg)
        return tuple(content)
    return (content if isinstance(content, Part) else _part(content),)


def _part(content: Any) -> Part:
    if isinstance(content, str):
        return Part(text=content)
    return Part(raw=content) if isinstance(content, bytes) else Part(data=content)


def text_of(parts: Sequence[Part]) -> str:
    """Join the text of parts."""
    return "".join(part.text for part in parts if part.text is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message to an agent, or from one."""

    parts: tuple[Part, ...]
    role: Role = Role.USER
    message_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Names it for ever: said twice, it counts once."""
    task_id: str = ""
    context_id: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    reference_task_ids: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All its text."""
        return text_of(self.parts)

    @property
    def data(self) -> Any:
        """Its first data part."""
        return next((part.data for part in self.parts if part.data is not None), None)

    def to_json(self) -> Json:
        """Write the protocol's JSON."""
        more = {
            "taskId": self.task_id,
            "contextId": self.context_id,
            "metadata": dict(self.metadata),
            "referenceTaskIds": list(self.reference_task_ids),
        }
        return {
            "messageId": self.message_id,
            "role": self.role.value,
            "parts": [part.to_json() for part in self.parts],
            **{key: value for key, value in more.items() if value},
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Read the protocol's JSON."""
        return cls(
            parts=tuple(map(Part.from_json, found.get("parts", ()))),
            role=Role(found.get("role", Role.USER)),
            message_id=found["messageId"],
            task_id=found.get("taskId", ""),
            context_id=found.get("contextId", ""),
            metadata=found.get("metadata", {}),
            reference_task_ids=tuple(found.get("referenceTaskIds", ())),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """An output of an agent."""

    artifact_id: str
    parts: tuple[Part, ...]
    name: str = ""

    def to_json(self) -> Json:
        """Write the protocol's JSON."""
        name = {"name": self.name} if self.name else {}
        parts = [part.to_json() for part in self.parts]
        return {"artifactId": self.artifact_id, "parts": parts, **name}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Read the protocol's JSON."""
        parts = tuple(map(Part.from_json, found.get("parts", ())))
        return cls(artifact_id=found["artifactId"], parts=parts, name=found.get("name", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A piece of work of an agent."""

    id: str
    context_id: str
    agent: str
    state: TaskState
    timestamp: str = ""
    """When the state was entered: ISO 8601, UTC."""
    said: Message | None = None
    """What goes with the state: a question, a reason."""
    artifacts: tuple[Artifact, ...] = ()
    history: tuple[Message, ...] = ()

    @property
    def text(self) -> str:
        """All text of its artifacts."""
        return "".join(text_of(artifact.parts) for artifact in self.artifacts)

    @property
    def data(self) -> Any:
        """The first data part of its artifacts."""
        parts = (part for artifact in self.artifacts for part in artifact.parts)
        return next((part.data for part in parts if part.data is not None), None)

    @property
    def reason(self) -> str:
        """The text that goes with the state."""
        return self.said.text if self.said else ""

    def to_json(self) -> Json:
        """Write the protocol's JSON."""
        status = _status(self.state, self.timestamp, self.said)
        return {
            "id": self.id,
            "contextId": self.context_id,
            "status": status,
            "artifacts": [artifact.to_json() for artifact in self.artifacts],
            "history": [message.to_json() for message in self.history],
            "metadata": {"agent": self.agent},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskUpdate:
    """One event of a task: a new status, or a piece of an artifact."""

    seq: int
    """1, 2, 3 … without a gap; following goes on after one."""
    task_id: str
    context_id: str
    timestamp: str
    state: TaskState
    said: Message | None = None
    artifact: Artifact | None = None
    append: bool = False
    """Whether the piece goes behind those before it; otherwise the artifact begins anew."""
    withdrawn: bool = False
    """Whether the artifact is one of an earlier try, which the last one has not made."""

    @property
    def text(self) -> str:
        """The text of the piece, or of what was said."""
        if self.artifact is not None:
            return text_of(self.artifact.parts)
        return self.said.text if self.said else ""

    def to_json(self) -> Json:
        """Write the protocol's JSON: a stream response."""
        about = {"taskId": self.task_id, "contextId": self.context_id}
        if self.artifact is not None:
            event = {**about, "artifact": self.artifact.to_json(), "append": self.append}
            return {"artifactUpdate": event}
        return {"statusUpdate": {**about, "status": _status(self.state, self.timestamp, self.said)}}


def _status(state: TaskState, timestamp: str, said: Message | None) -> Json:
    found: Json = {"state": state.value}
    if timestamp:
        found["timestamp"] = timestamp
    if said is not None:
        found["message"] = said.to_json()
    return found


def artifacts_of(updates: Sequence[TaskUpdate]) -> tuple[Artifact, ...]:
    """Put the pieces of artifacts together, as the protocol says."""
    found: dict[str, Artifact] = {}
    for update in updates:
        piece = update.artifact
        if piece is None:
            continue
        if update.withdrawn:
            found.pop(piece.artifact_id, None)
            continue
        before = found.get(piece.artifact_id)
        if update.append and before is not None:
            piece = replace(before, parts=before.parts + piece.parts)
        found[piece.artifact_id] = piece
    return tuple(found.values())
