"""Memory in this process, for tests.

In: what is to be remembered. Out: what is, as on Redis.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from flowcore.ports.memory import (
    MOST_PINNED,
    Conversation,
    Entry,
    Thread,
    Unsummarised,
    Written,
)

__all__ = ["InMemoryMemory"]

_KEYS = 1000


@dataclass(slots=True)
class _Late:
    """A summary that is under way, or has failed."""

    token: str = ""
    again: float = 0.0
    since: float | None = None
    tries: int = 0
    why: str = ""


@dataclass(slots=True)
class _Kept:
    pinned: list[Entry] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    late: _Late = field(default_factory=_Late)
    last: int = 0
    summary: bytes | None = None
    folded: int = 0
    seen: "OrderedDict[str, int]" = field(default_factory=OrderedDict)
    facts: dict[str, tuple[float | None, bytes]] = field(default_factory=dict)
    updated: float = 0.0
    ends: float | None = None


class InMemoryMemory:
    """Implements ``MemoryStore``."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        """Remember nothing yet."""
        self._clock = clock
        self._lock = threading.Lock()
        self._threads: dict[str, _Kept] = {}

    def append(
        self,
        thread: str,
        packed: Sequence[bytes],
        *,
        leading: int = 0,
        ttl: float | None = None,
        key: str = "",
    ) -> Written:
        """Add messages behind all there are, once per key."""
        if not packed:
            return Written()
        with self._lock:
            kept, now = self._of(thread), self._clock()
            if key in kept.seen:
                return _written(kept, kept.seen[key])
            room = MOST_PINNED - len(kept.pinned) if kept.last == len(kept.pinned) else 0
            for at, one in enumerate(packed):
                kept.last += 1
                where = kept.pinned if at < min(leading, room) else kept.entries
                where.append(Entry(id=kept.last, time=now, packed=one))
            if key:
                kept.seen[key] = kept.last
                while len(kept.seen) > _KEYS:
                    kept.seen.popitem(last=False)
            kept.updated = now
            if ttl is not None:
                kept.ends = now + ttl
            return _written(kept, kept.last)

    def read(self, thread: str) -> Conversation:
        """Return what is kept of a thread's messages."""
        with self._lock:
            kept = self._known(thread) or _Kept()
            return Conversation(
                entries=[*kept.pinned, *kept.entries],
                pinned=len(kept.pinned),
                summary=kept.summary,
                folded=kept.folded,
            )

    def drop(self, thread: str, upto: int) -> None:
        """Forget the oldest messages."""
        with self._lock:
            if (kept := self._known(thread)) is not None:
                kept.entries = [entry for entry in kept.entries if entry.id > upto]

    def claim(self, thread: str, token: str, seconds: float) -> int:
        """Begin to summarise a thread."""
        with self._lock:
            kept, now = self._known(thread), self._clock()
            if kept is None or not kept.last or now < kept.late.again:
                return 0
            late = kept.late
            late.token, late.again = token, now + seconds
            late.since = now if late.since is None else late.since
            late.tries += 1
            return late.tries

    def fold(self, thread: str, token: str, summary: bytes, *, upto: int) -> bool:
        """Let a summary stand for the oldest messages."""
        with self._lock:
            kept = self._known(thread)
            if kept is None or kept.late.token != token:
                return False
            kept.summary, kept.folded = summary, upto
            kept.entries = [entry for entry in kept.entries if entry.id > upto]
            kept.late.since, kept.late.tries, kept.late.why = None, 0, ""
            return True

    def release(self, thread: str, token: str, *, pause: float = 0.0, why: str = "") -> None:
        """End a claim."""
        with self._lock:
            kept = self._known(thread)
            if kept is None or kept.late.token != token:
                return
            late, now = kept.late, self._clock()
            late.again, late.why = now + pause, why
            if not why:
                late.since, late.tries = None, 0
            elif late.since is None:  # a part was summarised before the next one failed
                late.since, late.tries = now, 1

    def unsummarised(self, *, limit: int = 100) -> Sequence[Unsummarised]:
        """Return the threads whose summary is under way or has failed."""
        with self._lock:
            rows = [
                Unsummarised(
                    name=name,
                    messages=len(kept.entries),
                    since=kept.late.since,
                    tries=kept.late.tries,
                    why=kept.late.why,
                )
                for name in list(self._threads)
                if (kept := self._known(name)) and kept.late.since is not None
            ]
        return sorted(rows, key=lambda row: (row.since, row.name))[:limit]

    def put(
        self, thread: str, facts: Mapping[str, bytes | None], *, ttl: float | None = None
    ) -> None:
        """Keep values by name."""
        with self._lock:
            kept, now = self._of(thread), self._clock()
            for name, packed in facts.items():
                if packed is None:
                    kept.facts.pop(name, None)
                else:
                    kept.facts[name] = (None if ttl is None else now + ttl, packed)
            kept.updated = now

    def facts(self, thread: str) -> Mapping[str, bytes]:
        """Return the values that are not forgotten."""
        with self._lock:
            kept, now = self._known(thread) or _Kept(), self._clock()
            gone = [name for name, (ends, _) in kept.facts.items() if ends and ends <= now]
            for name in gone:
                del kept.facts[name]
            return {name: packed for name, (_, packed) in kept.facts.items()}

    def clear(self, thread: str) -> bool:
        """Forget a thread."""
        with self._lock:
            return self._threads.pop(thread, None) is not None

    def tidy(self) -> int:
        """Let go the threads whose time is over, or of which nothing is kept."""
        with self._lock:
            count = len(self._threads)
            for name in list(self._threads):
                kept = self._known(name)
                if kept is not None and not (kept.last or kept.facts):
                    del self._threads[name]
            return count - len(self._threads)

    def threads(self, *, prefix: str = "", limit: int = 100) -> Sequence[Thread]:
        """Return threads, those written last first."""
        with self._lock:
            rows = [
                Thread(
                    name=name,
                    messages=len(kept.pinned) + len(kept.entries),
                    facts=len(kept.facts),
                    updated=kept.updated,
                )
                for name in list(self._threads)
                if name.startswith(prefix)
                and (kept := self._known(name))
                and (kept.last or kept.facts)
            ]
        return sorted(rows, key=lambda row: (row.updated, row.name), reverse=True)[:limit]

    def _of(self, thread: str) -> _Kept:
        return self._known(thread) or self._threads.setdefault(thread, _Kept())

    def _known(self, thread: str) -> _Kept | None:
        """The thread, unless its time is over."""
        kept = self._threads.get(thread)
        if kept is not None and kept.ends is not None and kept.ends <= self._clock():
            del self._threads[thread]
            return None
        return kept


def _written(kept: _Kept, last: int) -> Written:
    size = sum(len(entry.packed) for entry in kept.entries)
    return Written(last=last, messages=len(kept.entries), size=size)
