"""Memory in this process, for tests.

In: what is to be remembered. Out: what is, as on Redis.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from flowcore.ports.memory import Conversation, Entry, Thread

__all__ = ["InMemoryMemory"]

_KEYS = 1000


@dataclass(slots=True)
class _Kept:
    entries: list[Entry] = field(default_factory=list)
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
        keep: int,
        ttl: float | None = None,
        key: str = "",
    ) -> int:
        """Add messages behind all there are, once per key."""
        if not packed:
            return 0
        with self._lock:
            kept, now = self._of(thread), self._clock()
            if key in kept.seen:
                return kept.seen[key]
            for one in packed:
                kept.last += 1
                kept.entries.append(Entry(id=kept.last, time=now, packed=one))
            del kept.entries[:-keep]
            if key:
                kept.seen[key] = kept.last
                while len(kept.seen) > _KEYS:
                    kept.seen.popitem(last=False)
            kept.updated = now
            if ttl is not None:
                kept.ends = now + ttl
            return kept.last

    def read(self, thread: str) -> Conversation:
        """Return what is kept of a thread's messages."""
        with self._lock:
            kept = self._known(thread) or _Kept()
            return Conversation(
                entries=list(kept.entries), summary=kept.summary, folded=kept.folded
            )

    def fold(self, thread: str, summary: bytes, *, upto: int, instead_of: int) -> bool:
        """Let a summary stand for the oldest messages."""
        with self._lock:
            kept = self._known(thread)
            if kept is None or kept.folded != instead_of or not kept.last:
                return False
            kept.summary, kept.folded = summary, upto
            kept.entries = [entry for entry in kept.entries if entry.id > upto]
            return True

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
                    messages=len(kept.entries),
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
