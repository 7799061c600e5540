"""Memory of a node's function, ``ctx.memory``, and the node type ``memory``.

In: messages and facts. Out: what is remembered. Not here: where it is kept (engine.memory.thread).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

from flowcore.nodes.arguments.conversation import MemoryArguments

__all__ = ["Memory", "MemoryUser", "memory"]


class Memory(Protocol):
    """One thread: a conversation, and facts by name."""

    @property
    def name(self) -> str:
        """The thread's full name, as ``flowcore memory`` shows it."""
        ...

    def add(self, role: str, content: Any, **more: Any) -> int:
        """Add one message.

        Args:
            role: Who says it, such as ``user`` or ``assistant``.
            content: Plain data, mostly text.
            more: What else belongs to it, such as ``name``.

        Returns:
            The message's number in the thread: 1, 2, 3, …
        """
        ...

    def extend(self, messages: Sequence[Mapping[str, Any]]) -> int:
        """Add messages side by side, maps with ``role`` and ``content``; the last one's number."""
        ...

    def messages(self, last: int | None = None) -> list[dict[str, Any]]:
        """Return what the flow's kind of memory shows of the conversation, oldest first.

        Each is a map with ``id``, ``time`` (Unix seconds), ``role``, ``content`` and what else was
        given. A summary comes behind the system messages that the conversation begins with, as a
        message of the role ``system`` without an id.

        Args:
            last: Only so many, the newest; a tool call stays with its results, and what the
                conversation begins with of the roles ``system`` and ``developer`` stays.
        """
        ...

    def recall(
        self, query: Any, k: int = 5, *, min_score: float | None = None
    ) -> list[dict[str, Any]]:
        """Return the messages that are nearest in meaning to a text, the nearest first.

        Args:
            query: A text, for which the flow's memory has to have ``embed``; or a vector.
            k: How many at most.
            min_score: Only those as near: the cosine of the vectors, from -1 to 1.

        Returns:
            Messages as ``messages`` gives them, each with its ``score``.
        """
        ...

    def get(self, name: str, default: Any = None) -> Any:
        """Return a fact, or the default when there is none of this name."""
        ...

    def set(self, name: str, value: Any, *, ttl: float | str | None = None) -> None:
        """Keep a fact; with ``ttl`` (seconds, or text such as ``1h``) for so long."""
        ...

    def delete(self, name: str) -> None:
        """Forget a fact."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return all facts by name."""
        ...

    def clear(self) -> bool:
        """Forget the thread; say whether there was one."""
        ...

    def thread(self, thread: str) -> Self:
        """Return another thread of the same memory."""
        ...


class MemoryUser(Protocol):
    """Who has a memory: a node's context."""

    @property
    def memory(self) -> Memory:
        """The thread of this run."""
        ...


def _set(it: Memory, given: dict[str, Any]) -> Any:
    it.set(given["name"], given["value"], ttl=given.get("ttl"))
    return given["value"]


#: What the node type does, by operation.
_DOES: Mapping[str, Callable[[Memory, dict[str, Any]], Any]] = {
    "read": lambda it, given: it.messages(**given),
    "append": lambda it, given: it.add(**{"role": "user", **given}),
    "extend": lambda it, given: it.extend(given["messages"]),
    "recall": lambda it, given: it.recall(**given),
    "clear": lambda it, _: it.clear(),
    "get": lambda it, given: it.get(given["name"], given.get("default")),
    "set": _set,
    "delete": lambda it, given: it.delete(given["name"]),
    "facts": lambda it, _: it.facts(),
}


def memory(ctx: MemoryUser, **given: Any) -> Any:
    """Remember something, or give what is remembered.

    Args:
        ctx: The attempt.
        **given: The node's ``with``, by itself: a parameter of its own name would be taken from the
            run's input, too. ``op``: ``read`` (the messages; so if left out), ``append`` (content,
            role: user), ``extend`` (messages), ``recall`` (query, k, min_score), ``clear``;
            ``get``, ``set``, ``delete`` (name, value, ttl) and ``facts``. ``thread``: another
            thread than the run's. What it takes.

    Returns:
        Messages, a message's number, a fact or facts; the value that was set.

    Raises:
        UsageError: There is no such operation, or it takes something else.
    """
    asked = MemoryArguments.read(given, uses="memory", node=getattr(ctx, "node_id", ""))
    it = ctx.memory if asked.thread is None else ctx.memory.thread(asked.thread)
    given = {key: value for key, value in asked.given().items() if key not in {"op", "thread"}}
    return _DOES[asked.op](it, given)
