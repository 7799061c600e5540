"""Memory: conversations and facts that outlive a run, by thread.

In: packed messages and values. Out: what is kept. Not here: what is shown of it (engine.memory).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Conversation", "Entry", "MemoryStore", "Thread"]


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
    """What is kept of a thread's messages."""

    entries: Sequence[Entry] = ()
    summary: bytes | None = None
    """msgpack of what stands for the messages up to ``folded``."""
    folded: int = 0
    """The id of the last message that the summary stands for."""


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
        keep: int,
        ttl: float | None = None,
        key: str = "",
    ) -> int:
        """Add messages, side by side, behind all there are.

        Args:
            thread: The thread; it need not exist.
            packed: The messages.
            keep: Only so many stay, the newest.
            ttl: Seconds without a write after which the thread is forgotten; None: never.
            key: What makes this write the same as another: said twice, it counts once. Of the
                latest 1,000 keys of a thread this holds.

        Returns:
            The id of the last of them.
        """
        ...

    def read(self, thread: str) -> Conversation:
        """Return what is kept of a thread's messages, oldest first."""
        ...

    def fold(self, thread: str, summary: bytes, *, upto: int, instead_of: int) -> bool:
        """Let a summary stand for the messages up to ``upto``, and forget these.

        Args:
            thread: The thread.
            summary: msgpack.
            upto: The last message it stands for.
            instead_of: ``folded`` as it was when the summary was begun.

        Returns:
            False when somebody else has folded meanwhile: nothing was changed.
        """
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
