"""Memory as nodes and programs use it: the kinds of memory, over one kind of store.

In: a store, the rules of a flow's memory, a thread's name. Out: what is shown of the thread. Not
here: atomic steps (the store).

All kinds keep messages in the order in which they came; they differ in what they keep and show.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Self

from flowcore.engine.calling import call
from flowcore.engine.recall import VECTOR, embedded, nearest, packed_vector, without_vector
from flowcore.errors import PayloadTooLargeError, UsageError
from flowcore.nodes.resolve import resolve
from flowcore.ports.memory import Conversation, MemoryStore
from flowcore.run.wire import pack, unpack
from flowcore.types import parse_duration

__all__ = ["MOST", "MemoryRules", "ThreadMemory"]

#: Messages that are kept of a thread, when nothing less is asked for.
MOST = 10_000

#: Bytes of one message or fact.
LARGEST = 2**20

#: Characters of a thread's name.
_LONGEST = 500

_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRules:
    """What a flow's memory keeps and shows; ``graph.flow.MemoryConfig`` says what each means."""

    type: str = "conversation"
    max_messages: int | None = None
    max_tokens: int | None = None
    counter: str | None = None
    summarise_after: int | None = None
    summariser: str | None = None
    embed: str | Callable[..., Any] | None = None
    ttl: float | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "MemoryRules":
        """Take from a plan's ``memory`` what is a rule."""
        return cls(**{key: value for key, value in config.items() if key in cls.__slots__})

    @property
    def keep(self) -> int:
        """How many messages stay in the store."""
        if self.type in {"conversation", "vector"} and self.max_messages:
            return self.max_messages
        return MOST

    def shown(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Of the messages kept, the newest that this kind of memory shows."""
        if self.type == "window" and self.max_messages:
            return messages[-self.max_messages :]
        if self.type == "tokens" and self.max_tokens is not None:
            return _within(messages, self.max_tokens, self._count)
        return messages

    def _count(self, message: Mapping[str, Any]) -> int:
        if self.counter is None:
            return approximate_tokens(message)
        return int(resolve(self.counter).function(message))


def approximate_tokens(message: Mapping[str, Any]) -> int:
    """Guess a message's tokens: one for four characters of what it says, rounded up, and four.

    A rule of thumb for English; give ``counter`` for a model's own count.
    """
    content = message.get("content")
    text = content if isinstance(content, str) else repr(content)
    return -(-len(text) // _PER_TOKEN) + 4


def _within(
    messages: list[dict[str, Any]], most: int, count: Callable[[Mapping[str, Any]], int]
) -> list[dict[str, Any]]:
    total, at = 0, len(messages)
    for message in reversed(messages):
        total += count(message)
        if total > most:
            break
        at -= 1
    return messages[at:]


@dataclass(slots=True, kw_only=True)
class ThreadMemory:
    """Implements ``nodes.memory.Memory``; safe to use from several threads of an attempt."""

    store: MemoryStore
    rules: MemoryRules
    space: str
    """The memory's name, which keeps its threads apart from others'."""
    id: str
    """The thread's own name."""
    writer: str = ""
    """Names who writes, the same for every attempt: what it has added, it adds once."""
    hide: Callable[..., Any] = field(default=lambda value, **_: value)
    """Takes the secrets that the writer has read out of what is kept."""
    _writes: "itertools.count[int]" = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        """Refuse a name that is none."""
        if not self.id or len(self.name) > _LONGEST:
            msg = f"a thread's name is text of up to {_LONGEST} characters, got {self.id!r:.80}"
            raise UsageError(msg)

    @property
    def name(self) -> str:
        """The thread's full name."""
        return f"{self.space}/{self.id}"

    def add(self, role: str, content: Any, **more: Any) -> int:
        """Add one message."""
        return self.extend([{"role": role, "content": content, **more}])

    def extend(self, messages: Sequence[Mapping[str, Any]]) -> int:
        """Add messages side by side."""
        packed = [self._packed(message) for message in messages]
        key = f"{self.writer}.{next(self._writes)}" if self.writer else ""
        rules = self.rules
        last = self.store.append(self.name, packed, keep=rules.keep, ttl=rules.ttl, key=key)
        if rules.summarise_after is not None:
            self._fold(rules.summarise_after)
        return last

    def messages(self, last: int | None = None) -> list[dict[str, Any]]:
        """Return what is shown of the conversation."""
        _refuse_unless(isinstance(last, int | None), f"'last' is a number, got {last!r}")
        kept = self.store.read(self.name)
        shown = self.rules.shown([without_vector(message) for message in _read(kept)])
        if last is not None:
            shown = shown[-last:] if last > 0 else []
        if kept.summary is not None:
            shown.insert(0, {"role": "system", "content": unpack(kept.summary)})
        return shown

    def recall(
        self, query: Any, k: int = 5, *, min_score: float | None = None
    ) -> list[dict[str, Any]]:
        """Return the messages that are nearest in meaning."""
        given: Any = k
        fits = isinstance(given, int) and not isinstance(given, bool) and given > 0
        _refuse_unless(fits, f"'k' is a number of messages, at least 1, got {k!r}")
        number = isinstance(min_score, int | float) and not isinstance(min_score, bool)
        fits = min_score is None or (number and -1 <= min_score <= 1)
        _refuse_unless(fits, f"'min_score' is a number from -1 to 1, got {min_score!r}")
        if isinstance(query, str):
            if self.rules.embed is None:
                msg = "recall needs 'embed', a function that makes a vector of a text"
                raise UsageError(f"{msg}: memory: {{type: vector, embed: module:callable}}")
            wanted = embedded(self.rules.embed, query)
        else:
            wanted = packed_vector(query, whose="recall got")
        return nearest(_read(self.store.read(self.name)), wanted, k=k, min_score=min_score)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a fact."""
        packed = self.store.facts(self.name).get(name)
        return default if packed is None else unpack(packed)

    def set(self, name: str, value: Any, *, ttl: float | str | None = None) -> None:
        """Keep a fact."""
        _refuse_unless(isinstance(name, str), f"a fact's name is text, got {name!r}")
        try:
            seconds = None if ttl is None else float(parse_duration(ttl))
        except (TypeError, ValueError) as error:
            raise UsageError(f"'ttl' is a time such as 90s or 2h, got {ttl!r}") from error
        value = self.hide(value, what=f"fact {name!r}")
        self.store.put(self.name, {name: self._bounded(value, f"fact {name!r}")}, ttl=seconds)

    def delete(self, name: str) -> None:
        """Forget a fact."""
        self.store.put(self.name, {name: None})

    def facts(self) -> dict[str, Any]:
        """Return all facts."""
        return {
            name: unpack(packed) for name, packed in sorted(self.store.facts(self.name).items())
        }

    def clear(self) -> bool:
        """Forget the thread."""
        return self.store.clear(self.name)

    def thread(self, thread: str) -> Self:
        """Return another thread of the same memory."""
        other = copy(self)
        other.id = thread
        other.__post_init__()
        return other

    def _packed(self, message: Mapping[str, Any]) -> bytes:
        given: Any = message
        fits = isinstance(given, Mapping) and "content" in given
        words = f"a message is a map with 'role' and 'content', got {str(message)[:80]}"
        _refuse_unless(fits, words)
        message = self.hide(message, what="message")
        role = message.get("role", "user")
        _refuse_unless(isinstance(role, str), f"a message's role is text, got {role!r}")
        said = {key: value for key, value in message.items() if key not in {"id", "time"}}
        own = said.pop("vector", None) if self.rules.embed is not None else None
        if (given_vector := said.get(VECTOR, own)) is not None:
            said[VECTOR] = packed_vector(given_vector, whose="'vector' is")
        elif self.rules.embed is not None:
            said[VECTOR] = embedded(self.rules.embed, message["content"])
        return self._bounded({**said, "role": role}, "message")

    def _bounded(self, value: Any, what: str) -> bytes:
        packed = pack(value, what=what)
        if len(packed) > LARGEST:
            msg = (
                f"a {what} of thread {self.name!r} is {len(packed):,} bytes; the limit is "
                f"{LARGEST:,}: keep it elsewhere, and a path or a key here"
            )
            raise PayloadTooLargeError(msg)
        return packed

    def _fold(self, after: int) -> None:
        """Summarise the older half, once there are more messages than the flow wants to see."""
        kept = self.store.read(self.name)
        if len(kept.entries) <= after or self.rules.summariser is None:
            return
        older = len(kept.entries) - max(1, after // 2)
        so_far = None if kept.summary is None else unpack(kept.summary)
        messages = [without_vector(message) for message in _read(kept)[:older]]
        summary = call(self.rules.summariser, messages=messages, summary=so_far)
        if not isinstance(summary, str) or not summary:
            msg = f"summariser {self.rules.summariser} gave {summary!r:.80} instead of text"
            raise UsageError(msg)
        upto = kept.entries[older - 1].id
        # Whoever comes second has summarised in vain, and changes nothing.
        self.store.fold(
            self.name, self._bounded(summary, "summary"), upto=upto, instead_of=kept.folded
        )


def _refuse_unless(fits: bool, words: str) -> None:  # noqa: FBT001  (reads as a sentence)
    if not fits:
        raise UsageError(words)


def _read(kept: Conversation) -> list[dict[str, Any]]:
    """The messages, with their vectors."""
    return [{"id": entry.id, "time": entry.time, **unpack(entry.packed)} for entry in kept.entries]
