"""Tasks of agents on Redis, each step one Lua script.

In: messages. Out: where tasks stand. See lua/agents/core.lua for what each key holds.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Literal, cast

import msgpack

from flowcore.agents.agent import check_card
from flowcore.agents.message import (
    Json,
    Message,
    Part,
    Role,
    Task,
    TaskState,
    TaskUpdate,
    artifacts_of,
)
from flowcore.engine.agents.messages import read_artifact, read_message
from flowcore.errors import VersionMismatchError
from flowcore.ports.agents import (
    AgentInstance,
    NewTask,
    SendResult,
    TaskClaim,
    TaskLease,
    TaskWakeup,
)
from flowcore.ports.listing import Listing
from flowcore.run.protocol import WIRE, WIRE_BEFORE, mismatch
from flowcore.stores.redis.connection.connect import Client, translated
from flowcore.stores.redis.connection.script import Script, ScriptConnection, script_text

__all__ = ["AgentLeases", "RedisAgents", "RedisDirectory"]

_CARDS, _DEAD = "fc:a2a:cards", "fc:a2a:dead"
_FORGET_DEAD = 3600.0
_LISTEN = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLeases:
    """Times, in seconds, and how often a task's worker may die."""

    lease: float = 5.0
    dispatch: float = 2.0
    retention: float = 86_400.0
    max_lost: int = 3


class RedisAgents:
    """Implements ``TaskStore``."""

    def __init__(self, client: Client, blocking: Client, *, leases: AgentLeases) -> None:
        """Use ``client``, and ``blocking`` where one waits; nothing is sent yet."""
        folder = resources.files("flowcore.stores.redis") / "lua" / "agents"
        core = (folder / "core.lua").read_text("utf-8")
        line = ScriptConnection(client)

        def script(name: str) -> Script:
            return Script(line, core + (folder / f"{name}.lua").read_text("utf-8"))

        self._client, self._blocking, self._leases = client, blocking, leases
        self._tell, self._claim, self._renew = script("tell"), script("claim"), script("renew")
        self._emit, self._settle, self._retry = script("emit"), script("settle"), script("retry")
        self._wake, self._cancel = script("wake"), script("cancel")
        self._sweep = Script(line, core + script_text("trouble", "agents/sweep"))
        self._requeue, self._get, self._lose = script("requeue"), script("get"), script("lose")

    def tell(self, new: NewTask) -> SendResult:
        """Put a message into a task's inbox."""
        leases = self._leases
        deadline = "" if new.deadline is None else _ms(new.deadline)
        keep = _ms(leases.retention), _ms(leases.dispatch)
        about = new.counts_as, new.message, new.context, int(new.create), deadline, new.notify
        whose = new.parent, new.owner
        with translated():
            found = self._tell(args=(new.task, new.agent, *about, *whose, *keep, WIRE))
        if sentence := next((_mismatch(new.task, number) for number in found[3:]), None):
            raise VersionMismatchError(sentence)
        return _told(found[:3])

    def claim(self, task: str, *, instance: str) -> TaskClaim | None:
        """Take a task that has something to do and is nobody's."""
        with translated():
            found = self._claim(args=(task, instance, _ms(self._leases.lease)))
        if not found:
            return None
        token, agent, context, messages, emitted, tries, again, number = found
        hold = TaskLease(task=task, token=int(token))
        if sentence := _mismatch(task, number):
            self.settle(hold, TaskState.FAILED, _said(sentence))
            return None
        return TaskClaim(
            hold=hold,
            agent=agent.decode(),
            context=context.decode(),
            messages=tuple(messages),
            emitted=int(emitted),
            tries=int(tries),
            again=bool(again),
        )

    def renew(self, instance: str, holds: Sequence[TaskLease]) -> Sequence[TaskLease]:
        """Prolong leases; return those that are lost."""
        flat = [each for hold in holds for each in (hold.task, hold.token)]
        with translated():
            lost = self._renew(args=(instance, _ms(self._leases.lease), *flat))
        return [holds[int(at)] for at in lost]

    def emit(self, hold: TaskLease, number: int, kind: str, body: bytes) -> bool:
        """Append an event."""
        with translated():
            return bool(self._emit(args=(hold.task, hold.token, number, kind, body)))

    def settle(self, hold: TaskLease, state: TaskState, body: bytes = b"") -> Literal[0, 1, 2]:
        """End a turn."""
        with translated():
            done = int(self._settle(args=(hold.task, hold.token, state.value, body)))
        return cast("Literal[0, 1, 2]", done)

    def retry(self, hold: TaskLease, *, delay: float, failed: bool) -> bool:
        """Give a task back for some seconds."""
        with translated():
            return bool(self._retry(args=(hold.task, hold.token, _ms(delay), int(failed))))

    def lose(self, hold: TaskLease) -> bool:
        """Have a sweep take a task over at once: the process that had it is dead."""
        with translated():
            return bool(self._lose(args=(hold.task, hold.token)))

    def wake(self, task: str) -> TaskWakeup | None:
        """End the wait of a task that was given back."""
        with translated():
            agent = self._wake(args=(task,))
        return TaskWakeup(agent=agent.decode(), task=task) if agent else None

    def cancel(self, task: str, body: bytes = b"") -> SendResult:
        """End a task as canceled."""
        with translated():
            return _told(self._cancel(args=(task, body)))

    def sweep(self, *, limit: int = 100) -> Sequence[TaskWakeup]:
        """Take over from the dead, end what is too late, forget what is old."""
        lost = _said("its workers died again and again: a dead letter")
        with translated():
            args = (limit, self._leases.max_lost, lost, _said("its deadline has passed"))
            flat = [each.decode("utf-8", "replace") for each in self._sweep(args=args)]
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return [TaskWakeup(agent=agent, task=task) for agent, task in pairs]

    def requeue(self, task: str) -> TaskWakeup | None:
        """Try a dead letter again."""
        with translated():
            agent = self._requeue(args=(task,))
        return TaskWakeup(agent=agent.decode(), task=task) if agent else None

    def get(self, task: str) -> Task | None:
        """Return a task with all that was said and made.

        Raises:
            VersionMismatchError: It is written in another wire number.
        """
        with translated():
            answer = self._get(args=(task,))
        if not answer:
            return None
        (agent, context, state, told, since, number), said, events = answer
        if sentence := _mismatch(task, number):
            raise VersionMismatchError(sentence)
        place = context.decode()
        updates = [
            _update(task, place, id, dict(zip(flat[::2], flat[1::2], strict=True)))
            for id, flat in events
        ]
        return Task(
            id=task,
            context_id=place,
            agent=agent.decode(),
            state=TaskState(state.decode()),
            timestamp=_stamp(since),
            said=_message(told),
            artifacts=artifacts_of(updates),
            history=tuple(map(read_message, said)),
        )

    def updates(self, task: str, *, after: int = 0, wait: float = 0.0) -> Sequence[TaskUpdate]:
        """Return a task's events after one, waiting for some seconds if there are none."""
        stream = _key(task, "ev")
        client = self._blocking if wait else self._client
        with translated():
            block = max(1, _ms(wait)) if wait else None
            found = client.xread({stream: f"0-{after}"}, count=1000, block=block)
            context = self._client.hget(_key(task, "task"), "ctx") if found else b""
        entries = found[0][1] if found else ()
        return [_update(task, (context or b"").decode(), *entry) for entry in entries]

    def dead(self, *, limit: int = 50) -> Listing[Task]:
        """Return dead letters, latest first."""
        with translated():
            names = self._client.zrevrange(_DEAD, 0, limit - 1)
        found: Listing[Task] = Listing()
        for name in names:
            with contextlib.suppress(VersionMismatchError), found.reading(name):
                task = self.get(name.decode())
                if task is not None:
                    found.append(task)
        return found

    def listen(
        self, instance: str, hear: Callable[[str, str], None], stop: threading.Event
    ) -> None:
        """Hear what an instance is told, until stopped: ``("d", task)`` news, ``("s", task)`` stop.

        Nobody depends on it: what is missed is found in the store a little later.
        """
        with translated():
            for word in self._heard(instance, stop):
                kind, _, task = word.partition("|")
                hear(kind, task)

    def _heard(self, instance: str, stop: threading.Event) -> Iterator[str]:
        with self._blocking.pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe(f"fc:a2a:to:{instance}")
            while not stop.is_set():
                message = channel.get_message(timeout=_LISTEN)
                if message is not None:
                    yield message["data"].decode()


class RedisDirectory:
    """Implements ``AgentDirectory``: one hash; notes carry the time at which they go stale."""

    def __init__(self, client: Client, *, namespace: str = "") -> None:
        """Use ``client``; projects that share a server have a namespace each."""
        self._client = client
        self._cards = f"{_CARDS}:{namespace}" if namespace else _CARDS

    def post(
        self, card: Json, *, instance: str, keep: float, hung: int = 0, replaced: int = 0
    ) -> None:
        """Write or renew a card."""
        with translated():
            health = {"hung": hung, "replaced": replaced}
            note = {"card": card, "until": self._now() + keep, "keep": keep, **health}
            self._client.hset(self._cards, f"{card['name']}|{instance}", msgpack.packb(note))

    def leave(self, name: str, instance: str) -> None:
        """Take a card down."""
        with translated():
            self._client.hdel(self._cards, f"{name}|{instance}")

    def agents(self) -> Listing[AgentInstance]:
        """Return all notes, and drop those of the long dead."""
        notes: Listing[AgentInstance] = Listing()
        old: list[bytes] = []
        with translated():
            now = self._now()
            for field, blob in sorted(self._client.hgetall(self._cards).items()):
                with notes.reading(field):
                    kept = msgpack.unpackb(blob)
                    if now - float(kept["until"]) > _FORGET_DEAD:
                        old.append(field)
                    else:
                        notes.append(_agent_note(field, kept, now))
            if old:
                self._client.hdel(self._cards, *old)
        return notes

    def _now(self) -> float:
        seconds, micros = self._client.time()
        return float(seconds + micros / 1e6)


def _agent_note(field: bytes, kept: Any, now: float) -> AgentInstance:
    until = float(kept["until"])
    return AgentInstance(
        card=check_card(kept["card"]),
        instance=field.decode().partition("|")[2],
        seen=max(0.0, now - until + float(kept["keep"])),
        alive=until >= now,
        hung=int(kept.get("hung", 0)),
        replaced=int(kept.get("replaced", 0)),
    )


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _key(task: str, part: str) -> str:
    return f"fc:{{a2a:{task}}}:{part}"


def _mismatch(task: str, number: int | bytes | None) -> str | None:
    """Return a sentence about a task that is written in another wire number."""
    return mismatch(f"who began task {task!r}", int(number or WIRE_BEFORE))


def _said(text: str) -> bytes:
    message = Message(
        parts=(Part(text=text),), role=Role.AGENT, message_id=f"flowcore-{time.time_ns()}"
    )
    packed: bytes = msgpack.packb(message.to_json())
    return packed


def _told(found: Any) -> SendResult:
    verdict, state, ring = found
    return SendResult(
        verdict=verdict.decode(),
        state=TaskState(state.decode() or TaskState.SUBMITTED),
        ring=bool(ring),
    )


def _message(blob: bytes) -> Message | None:
    return read_message(blob) if blob else None


def _stamp(at: bytes) -> str:
    moment = datetime.fromtimestamp(int(at) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _update(task: str, context: str, id: bytes, fields: dict[bytes, bytes]) -> TaskUpdate:
    kind, body = fields[b"k"], fields[b"b"]
    piece = None if kind == b"status" else read_artifact(body)
    return TaskUpdate(
        seq=int(id.partition(b"-")[2]),
        task_id=task,
        context_id=context,
        timestamp=_stamp(fields[b"at"]),
        state=TaskState(fields[b"s"].decode()),
        said=_message(body) if piece is None else None,
        artifact=piece,
        append=kind == b"append",
        withdrawn=kind == b"withdraw",
    )
