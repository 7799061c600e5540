"""Memory: conversations and facts that outlive a run, by thread.

In: packed messages and values. Out: what is kept. Not here: what is shown of it
(engine.memory.thread).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = [
    "MOST_PINNED",
    "Conversation",
    "Entry",
    "MemoryStore",
    "Thread",
    "Unsummarised",
    "Written",
]

#: Messages at the beginning of a thread that stay whatever else is forgotten.
MOST_PINNED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One message of a thread."""

    id: int
    """1, 2, 3, … within the thread, in the order in which they came; never given twice."""
    time: float
    """Unix seconds on the store's clock."""
    packed: bytes
    """msgpack of the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Kept messages of a thread."""

    entries: Sequence[Entry] = ()
    pinned: int = 0
    """Number of the first ones, which stay whatever else is forgotten."""
    summary: bytes | None = None
    """msgpack of what stands for the messages up to ``folded``."""
    folded: int = 0
    """The id of the last message that the summary stands for; 0: there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """State of a thread after a write."""

    last: int = 0
    """The id of the last message written."""
    messages: int = 0
    """Number of those that may be forgotten."""
    size: int = 0
    """Their bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsummarised:
    """A thread whose summary is under way, or has failed."""

    name: str
    messages: int
    since: float
    """Unix seconds on the store's clock."""
    tries: int
    why: str
    """Why the latest try failed; empty while none has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A thread, as lists show it."""

    name: str
    messages: int
    facts: int
    updated: float
    """Unix seconds on the store's clock."""


class MemoryStore(Protocol):
    """Keeps threads. Every call is one atomic step, whoever else writes.

    They raise ``StoreUnreachableError`` and nothing vendor's own.
    """

    def append(
        self,
        thread: str,
        packed: Sequence[bytes],
        *,
        leading: int = 0,
        ttl: float | None = None,
        key: str = "",
    ) -> Written:
        """Add messages, side by side, behind all there are.

        Args:
            thread: The thread; it need not exist.
            packed: The messages.
            leading: So many of them, the first ones, are pinned if every message before them is;
                of a thread at most ``MOST_PINNED``.
            ttl: Seconds without a write after which the thread is forgotten; None: never.
            key: What makes this write the same as another: said twice, it counts once. Of the
                latest 1,000 keys of a thread this holds.
        """
        ...

    def read(self, thread: str) -> Conversation:
        """Return what is kept of a thread's messages, oldest first."""
        ...

    def drop(self, thread: str, upto: int) -> None:
        """Forget the messages up to ``upto``, except those that are pinned."""
        ...

    def claim(self, thread: str, token: str, seconds: float) -> int:
        """Begin to summarise a thread, unless somebody has begun, or it was put off.

        Args:
            thread: The thread.
            token: Names this try, and no other.
            seconds: After so many the next may begin.

        Returns:
            Which try this is since the last one that succeeded: 1, 2, …; 0: not now.
        """
        ...

    def fold(self, thread: str, token: str, summary: bytes, *, upto: int) -> bool:
        """Let a summary stand for the messages up to ``upto``, and forget these.

        Args:
            thread: The thread.
            token: The latest claim's.
            summary: msgpack.
            upto: The last message it stands for.

        Returns:
            False when the claim is no longer the thread's latest: nothing was changed.
        """
        ...

    def release(self, thread: str, token: str, *, pause: float = 0.0, why: str = "") -> None:
        """End a claim, if it is still the thread's latest.

        Args:
            thread: The thread.
            token: The claim's.
            pause: Seconds before which nobody is to try again.
            why: Why it failed; empty: it did not.
        """
        ...

    def unsummarised(self, *, limit: int = 100) -> Sequence[Unsummarised]:
        """Return the threads whose summary is under way or has failed, the oldest first."""
        ...

    def put(
        self, thread: str, facts: Mapping[str, bytes | None], *, ttl: float | None = None
    ) -> None:
        """Keep values by name, or forget those that are None.

        Args:
            thread: The thread.
            facts: msgpack by name.
            ttl: Seconds after which they are forgotten; None: never.
        """
        ...

    def facts(self, thread: str) -> Mapping[str, bytes]:
        """Return the values of a thread that are not forgotten, by name."""
        ...

    def clear(self, thread: str) -> bool:
        """Forget a thread; say whether there was one."""
        ...

    def tidy(self) -> int:
        """Let go the names of threads whose time is over; say how many.

        One call looks at a bounded part, and the next one at the part behind it.
        """
        ...

    def threads(self, *, prefix: str = "", limit: int = 100) -> Sequence[Thread]:
        """Return the threads whose names begin so, those written last first."""
        ...
