"""Memory for programs: the threads that flows remember in, from anywhere.

In: a memory's name (a flow's id, unless the flow says otherwise) and a thread's. Out: its
conversation and its facts. Not here: what nodes are given (nodes.types.memory).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flowcore.assembly.session import Session, default_session
from flowcore.client.threads import in_thread
from flowcore.engine.memory.embeddings import VECTOR, floats_of
from flowcore.engine.memory.thread import MOST, MemoryRules, ThreadMemory
from flowcore.errors import UsageError
from flowcore.ports.memory import Thread
from flowcore.run.wire import unpack

__all__ = ["Memory", "export_threads", "import_threads"]


class Memory(ThreadMemory):
    """A thread of a flow's memory.

    ::

        memory = Memory("support", "alice")
        memory.add("user", "hello")
        await memory.amessages(last=10)

    It keeps what it is given and shows all that is kept; what a flow shows of it is the flow's
    config. Calls take a round trip to Redis; those of an event loop have twins that begin with
    ``a``.
    """

    __slots__ = ()

    def __init__(
        self,
        name: str,
        thread: str,
        *,
        keep: int = MOST,
        embed: str | Callable[..., Any] | None = None,
        session: Session | None = None,
    ) -> None:
        """Name a thread; it need not exist.

        Args:
            name: The memory: a flow's id, or what the flow's config gives as ``name``.
            thread: The thread.
            keep: Messages that stay when one is added, the newest.
            embed: Makes a vector of a text, for ``recall``: a function, or ``module:callable``.
            session: Where; the process's default session when left out.
        """
        super().__init__(
            store=(session or default_session()).runtime.memory,
            rules=MemoryRules(max_messages=keep, embed=embed),
            space=name,
            id=thread,
        )

    @classmethod
    def threads(
        cls, prefix: str = "", *, limit: int = 100, session: Session | None = None
    ) -> Sequence[Thread]:
        """Return threads by full name (``memory/thread``), those written last first."""
        store = (session or default_session()).runtime.memory
        return store.threads(prefix=prefix, limit=limit)

    @classmethod
    def named(
        cls,
        full: str,
        *,
        embed: str | Callable[..., Any] | None = None,
        session: Session | None = None,
    ) -> "Memory":
        """Return the thread of a full name, such as ``support/alice``.

        Raises:
            UsageError: It is no full name.
        """
        space, _, thread = full.partition("/")
        if not (space and thread):
            msg = f"a thread's full name is MEMORY/THREAD, such as support/alice, got {full!r}"
            raise UsageError(msg)
        return cls(space, thread, embed=embed, session=session)

    async def aadd(self, role: str, content: Any, **more: Any) -> int:
        """Add one message without blocking."""
        return await in_thread(lambda: self.add(role, content, **more))

    async def aextend(self, messages: Sequence[Mapping[str, Any]]) -> int:
        """Add messages without blocking."""
        return await in_thread(self.extend, messages)

    async def amessages(self, last: int | None = None) -> list[dict[str, Any]]:
        """Return the conversation without blocking."""
        return await in_thread(self.messages, last)

    async def arecall(
        self, query: Any, k: int = 5, *, min_score: float | None = None
    ) -> list[dict[str, Any]]:
        """Return the messages nearest in meaning without blocking."""
        return await in_thread(lambda: self.recall(query, k, min_score=min_score))

    async def aget(self, name: str, default: Any = None) -> Any:
        """Return a fact without blocking."""
        return await in_thread(self.get, name, default)

    async def aset(self, name: str, value: Any, *, ttl: float | str | None = None) -> None:
        """Keep a fact without blocking."""
        await in_thread(lambda: self.set(name, value, ttl=ttl))

    async def aclear(self) -> bool:
        """Forget the thread without blocking."""
        return await in_thread(self.clear)


def export_threads(prefix: str = "", *, session: Session) -> Iterator[dict[str, Any]]:
    """Give everything that is kept of threads, one map each; ``import_threads`` reads them."""
    store = session.runtime.memory
    for row in store.threads(prefix=prefix, limit=10**9):
        kept = store.read(row.name)
        yield {
            "thread": row.name,
            "summary": None if kept.summary is None else unpack(kept.summary),
            "messages": [
                {"id": entry.id, "time": entry.time, **_readable(unpack(entry.packed))}
                for entry in kept.entries
            ],
            "facts": {name: unpack(packed) for name, packed in store.facts(row.name).items()},
        }


def _readable(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose vector, if it has one, is a list of numbers."""
    vector = message.get(VECTOR)
    return message if vector is None else {**message, VECTOR: floats_of(vector)}


def import_threads(given: Iterator[Any], *, replace: bool = False, session: Session) -> int:
    """Add threads that were exported; messages get new numbers, and the time of their import.

    Args:
        given: What ``export_threads`` gave. A summary becomes the first message, of the role
            ``system``.
        replace: Forget first what is kept of these threads; otherwise messages are added.
        session: Where.

    Returns:
        How many threads.

    Raises:
        UsageError: One of them is no such map; those before it are there.
    """
    count = 0
    for count, one in enumerate(given, start=1):
        if not isinstance(one, Mapping) or not isinstance(one.get("thread"), str):
            msg = f"thread {count} is not a map with 'thread', 'messages' and 'facts'"
            raise UsageError(msg)
        memory = Memory.named(one["thread"], session=session)
        if replace:
            memory.clear()
        messages = list(one.get("messages") or ())
        if summary := one.get("summary"):
            messages.insert(0, {"role": "system", "content": summary})
        if messages:
            memory.extend(messages)
        for name, value in dict(one.get("facts") or {}).items():
            memory.set(name, value)
    return count
