"""The events of one turn of a task: what is told of what a function says.

In: statuses and pieces of artifacts, in the order in which a function makes them. Out: events in
the store. Not here: packing (messages), the function.

A function may be run several times for one task, and need not say the same each time: models do
not. So its artifacts are compared with those that were told before, by what they consist of:

- Another try, after an error or a loss, begins its artifacts anew: the first piece of each
  replaces what the tries before it told.
- A turn that goes on, after an answer, tells nothing while it makes what was told before, goes on
  where that ends, and replaces the artifact where it makes something else.
- At the end, an artifact that this run made shorter is replaced; one that it did not make is
  withdrawn.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgpack

from flowcore.agents.message import Artifact, Message, Part, Role, TaskUpdate, artifacts_of
from flowcore.engine.agents.messages import artifact_body, check_id, message_body, read_artifact
from flowcore.errors import AgentTaskStateError, UnsupportedValueError
from flowcore.ports.agents import TaskClaim, TaskStore

__all__ = ["MAX_TASK", "EventWriter"]

#: Bytes of all that one run of a function tells.
MAX_TASK = 64 * 2**20
_PAGE = 1000


@dataclass(slots=True)
class _Made:
    """An artifact as this run has made it so far."""

    name: str
    pieces: list[Artifact] = field(default_factory=list)


@dataclass(slots=True)
class _Told:
    """An artifact as earlier turns told it, and how much of it this run has made again."""

    artifact: Artifact
    parts: list[bytes]
    agreed: int = 0


class EventWriter:
    """Tells what one run of a function says; safe to use from several threads of it."""

    def __init__(self, claim: TaskClaim, store: TaskStore) -> None:
        """Read what was told before, if anything was."""
        self._claim = claim
        self._store = store
        self._number = claim.emitted
        self._bytes = 0
        self._made: dict[str, _Made] = {}
        self._lock = threading.RLock()
        self._statuses = 0
        updates = _all_updates(store, claim.hold.task) if claim.emitted else ()
        self._told = {
            each.artifact_id: _Told(each, _packed(each.parts)) for each in artifacts_of(updates)
        }
        self._told_statuses = [
            each.text for each in updates if each.artifact is None and _is_own(each, claim)
        ]

    def status(self, text: str) -> None:
        """Tell how it goes, unless that was told before at this place."""
        with self._lock:
            self._statuses += 1
            told = self._told_statuses[self._statuses - 1 : self._statuses]
            message_id = f"{self._claim.hold.task}.s{self._number + 1}"
            message = Message(parts=(Part(text=text),), role=Role.AGENT, message_id=message_id)
            body = message_body(message, label=self._label("a status"))
            if told != [message.text]:
                self._emit("status", body)

    def whole(self, artifact: Artifact) -> None:
        """Tell an artifact that is complete."""
        with self._lock:
            self._take(artifact, append=False)

    def piece(self, artifact: Artifact) -> None:
        """Tell a further piece of an artifact; the first one begins it."""
        with self._lock:
            self._take(artifact, append=True)

    def close(self) -> None:
        """Take back what was told in earlier turns and was not made in this one."""
        with self._lock:
            for id, told in list(self._told.items()):
                del self._told[id]
                if id not in self._made:
                    empty = replace(told.artifact, parts=(Part(text=""),))
                    self._emit("withdraw", artifact_body(empty, label=self._label("an artifact")))
                elif told.agreed < len(told.parts):
                    self._replace(id)

    def _take(self, piece: Artifact, *, append: bool) -> None:
        id = check_id(piece.artifact_id, "an artifact's id")
        # Refused before it counts; and compared as it will be read.
        piece = read_artifact(artifact_body(piece, label=self._label(f"artifact {id!r}")))
        told = self._told.get(id)
        made = self._made.get(id)
        if made is None or not append:
            made = self._made[id] = _Made(piece.name)
            append = False
            if told is not None:
                told.agreed = 0
        made.pieces.append(piece)
        if told is None:
            self._tell(piece, append=append)
        elif self._claim.again:
            del self._told[id]
            self._replace(id)
        else:
            self._compare(piece, made, told)

    def _compare(self, piece: Artifact, made: _Made, told: _Told) -> None:
        parts, before = _packed(piece.parts), told.parts[told.agreed :]
        common = min(len(parts), len(before))
        if made.name != told.artifact.name or parts[:common] != before[:common]:
            del self._told[piece.artifact_id]
            self._replace(piece.artifact_id)
            return
        told.agreed += common
        if len(parts) > common:
            del self._told[piece.artifact_id]
            self._tell(replace(piece, parts=piece.parts[common:]), append=True)

    def _replace(self, id: str) -> None:
        for number, piece in enumerate(self._made[id].pieces):
            self._tell(piece, append=number > 0)

    def _tell(self, piece: Artifact, *, append: bool) -> None:
        body = artifact_body(piece, label=self._label(f"artifact {piece.artifact_id!r}"))
        self._emit("append" if append else "artifact", body)

    def _emit(self, kind: str, body: bytes) -> None:
        self._bytes += len(body)
        if self._bytes > MAX_TASK:
            label = self._label("all")
            raise UnsupportedValueError(f"{label} has more than the {MAX_TASK:,} bytes it may have")
        self._number += 1
        if not self._store.emit(self._claim.hold, self._number, kind, body):
            task = self._claim.hold.task
            raise AgentTaskStateError(f"task {task!r} is no longer this worker's")

    def _label(self, subject: str) -> str:
        return f"{subject} of agent {self._claim.agent!r}"


def _packed(parts: Sequence[Part]) -> list[bytes]:
    """Make parts comparable: in Python, 1 equals True."""
    return [msgpack.packb(part.to_json()) for part in parts]


def _is_own(update: TaskUpdate, claim: TaskClaim) -> bool:
    """Say whether the agent itself told a status; others go with a new state."""
    said = update.said
    return said is not None and said.message_id.startswith(f"{claim.hold.task}.s")


def _all_updates(store: TaskStore, task: str) -> Sequence[TaskUpdate]:
    found: list[TaskUpdate] = []
    while page := store.updates(task, after=found[-1].seq if found else 0):
        found.extend(page)
        if len(page) < _PAGE:
            break
    return found
