"""Memory as nodes and programs use it: the kinds of memory, over one kind of store.

In: a store, the rules of a flow's memory, a thread's name. Out: what is shown of the thread. Not
here: atomic steps (the store).

All kinds keep messages in the order in which they came; they differ in what they keep and show. The
oldest are forgotten in portions, by whoever adds: a thread may keep a quarter more than it shows.
"""

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Self

from flowcore.engine.memory.embeddings import (
    VECTOR,
    embedded,
    nearest,
    packed_vector,
    without_vector,
)
from flowcore.engine.memory.summaries import Summariser
from flowcore.engine.memory.tokens import counted
from flowcore.engine.memory.trimming import boundaries, newest, pinned_count, without_orphans
from flowcore.errors import FlowcoreError, PayloadTooLargeError, UsageError
from flowcore.ports.memory import Conversation, MemoryStore, Written
from flowcore.run.wire import pack, unpack
from flowcore.types import parse_duration

__all__ = ["MOST", "MemoryRules", "ThreadMemory"]

#: Messages that are kept of a thread, when nothing less is asked for.
MOST = 10_000

#: Bytes of one message or fact.
LARGEST = 2**20

#: Characters of a thread's name.
_LONGEST = 500

#: Bytes of a thread's messages above which the oldest are forgotten.
LARGEST_THREAD = 256 * 2**20

#: Messages that a thread may have above its bound, at least, before the oldest are forgotten.
_SLACK = 100

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRules:
    """Retention and display of a flow's memory; ``graph.flow.MemoryConfig`` explains each field."""

    type: str = "conversation"
    max_messages: int | None = None
    max_tokens: int | None = None
    counter: str | None = None
    tokenizer: str | None = None
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
        """Number of messages that stay in the store."""
        if self.type in {"conversation", "vector"} and self.max_messages:
            return self.max_messages
        return MOST

    def shown(self, messages: list[dict[str, Any]], *, pinned: int = 0) -> list[dict[str, Any]]:
        """Of the messages kept, those that this kind of memory shows.

        Args:
            messages: The messages kept, without what stands for others.
            pinned: How many of them, the first ones, are shown in any case.
        """
        if self.type == "tokens" and self.max_tokens is not None:
            count = counted(self.counter, self.tokenizer)
            return newest(messages, self.max_tokens, count, pinned=pinned)
        if self.type != "summary" and self.max_messages:
            return newest(messages, self.max_messages, pinned=pinned)
        return messages


@dataclass(slots=True, kw_only=True)
class ThreadMemory:
    """Implements ``nodes.types.memory.Memory``; safe to use from several threads of an attempt."""

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
    log: "logging.Logger | logging.LoggerAdapter[Any]" = field(default=_log)
    """The logger that hears of summaries that had to be left for later."""
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
        written = self.store.append(
            self.name, packed, leading=pinned_count(messages), ttl=self.rules.ttl, key=key
        )
        self._keep_bounds(written)
        return written.last

    def messages(self, last: int | None = None) -> list[dict[str, Any]]:
        """Return what is shown of the conversation."""
        _refuse_unless(isinstance(last, int | None), f"'last' is a number, got {last!r}")
        kept = self.store.read(self.name)
        shown = self._shown(kept)
        if last is not None:
            shown = newest(shown, last, pinned=kept.pinned) if last > 0 else []
        if kept.summary is not None:
            at = min(kept.pinned, len(shown))
            shown.insert(at, {"role": "system", "content": unpack(kept.summary)})
        return shown

    def _shown(self, kept: Conversation) -> list[dict[str, Any]]:
        messages = [without_vector(message) for message in _complete(kept)]
        return self.rules.shown(messages, pinned=kept.pinned)

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
        kept = self.store.read(self.name)
        known = _complete(kept)
        if self.rules.keep < len(known):
            known = newest(known, self.rules.keep, pinned=kept.pinned)
        return nearest(known, wanted, k=k, min_score=min_score)

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

    def _keep_bounds(self, written: Written) -> None:
        """Summarise or forget the oldest messages; what has been added stays, whatever happens."""
        rules = self.rules
        if (
            rules.summarise_after is not None
            and rules.summariser is not None
            and written.messages > rules.summarise_after
        ):
            Summariser(
                store=self.store,
                name=self.name,
                function=rules.summariser,
                after=rules.summarise_after,
                read=lambda kept: [without_vector(message) for message in _read(kept)],
                pack=lambda text: self._bounded(self.hide(text, what="summary"), "summary"),
                unpack=unpack,
                hide=lambda text: str(self.hide(text, what="error")),
                log=self.log,
            ).catch_up()
        most = rules.keep + max(_SLACK, rules.keep // 4)
        if written.messages > most or written.size > LARGEST_THREAD * 5 // 4:
            try:
                self._forget(rules.keep)
            except FlowcoreError as error:  # the next writer does it
                self.log.warning("thread %s is trimmed later: %s", self.name, error)

    def _forget(self, keep: int) -> None:
        """Forget the oldest blocks that are above the thread's bounds."""
        kept = self.store.read(self.name)
        entries = kept.entries[kept.pinned :]
        body = _read(kept)[kept.pinned :]
        size, first = 0, len(entries)
        for entry in reversed(entries[-keep:]):
            size += len(entry.packed)
            if size > LARGEST_THREAD:
                break
            first -= 1
        # The newest block stays; a block that only partly fits is forgotten.
        starts = boundaries(body)
        at = next((start for start in starts if start >= first), starts[-1] if starts else 0)
        if at > 0:
            self.store.drop(self.name, entries[at - 1].id)


def _refuse_unless(fits: bool, words: str) -> None:  # noqa: FBT001  (reads as a sentence)
    if not fits:
        raise UsageError(words)


def _read(kept: Conversation) -> list[dict[str, Any]]:
    """The messages, with their vectors."""
    return [{"id": entry.id, "time": entry.time, **unpack(entry.packed)} for entry in kept.entries]


def _complete(kept: Conversation) -> list[dict[str, Any]]:
    """The messages, without the results of calls that are forgotten."""
    messages = _read(kept)
    pinned, body = messages[: kept.pinned], messages[kept.pinned :]
    if body and body[0]["id"] > kept.pinned + 1:
        body = without_orphans(body)
    return [*pinned, *body]
