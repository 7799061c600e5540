"""Memory on Redis: a list of messages and a hash of facts for each thread.

In: what is to be remembered. Out: what is. See lua/memory for each step. A thread is
``fc:{mem:NAME}:head`` (hash: last id, summary, the claim of who summarises), ``pinned`` and ``log``
(lists of id, time, message), ``seen`` (sorted set of the keys of its writes) and ``facts`` (hash);
``fc:memory`` names all threads, ``fc:memory:late`` those whose summary is under way or has failed.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import resources
from typing import Any

import msgpack

from flowcore.ports.memory import (
    MOST_PINNED,
    Conversation,
    Entry,
    MemoryStore,
    Thread,
    Unsummarised,
    Written,
)
from flowcore.stores.redis.connection.connect import Client, translated
from flowcore.stores.redis.connection.placement import home_of
from flowcore.stores.redis.connection.script import Script, ScriptConnection

__all__ = ["RedisMemory", "ShardedMemory"]

_INDEX = "fc:memory"
_LATE = "fc:memory:late"
_PARTS = ("head", "pinned", "log", "seen", "facts")
_PAGE = 500


class RedisMemory:
    """Implements ``MemoryStore`` on one server."""

    def __init__(self, client: Client, *, space: str = "") -> None:
        """Prepare the scripts; nothing is sent yet.

        Args:
            client: The server.
            space: Keeps the threads of projects apart that share a server.
        """
        self._space = f"{space}|" if space else ""
        line, folder = (
            ScriptConnection(client),
            resources.files("flowcore.stores.redis") / "lua" / "memory",
        )
        self._client = client
        self._scripts = {
            name: Script(line, (folder / f"{name}.lua").read_text())
            for name in ("append", "fold", "claim", "release", "put", "facts", "tidy")
        }
        self._cursor = 0

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
        last, messages, size = self._call(
            "append", self._space + thread, key, leading, MOST_PINNED, _ms(ttl), *packed
        )
        return Written(last=last, messages=messages, size=size)

    def read(self, thread: str) -> Conversation:
        """Return what is kept of a thread's messages, as it was at one moment."""
        with translated():
            pipe = self._client.pipeline(transaction=True)
            pipe.hmget(self._key(thread, "head"), "summary", "folded")
            pipe.lrange(self._key(thread, "pinned"), 0, -1)
            pipe.lrange(self._key(thread, "log"), 0, -1)
            (summary, folded), pinned, log = pipe.execute()
        return Conversation(
            entries=[
                Entry(id=number, time=ms / 1000, packed=packed)
                for number, ms, packed in map(_unpack, [*pinned, *log])
            ],
            pinned=len(pinned),
            summary=summary,
            folded=int(folded or 0),
        )

    def drop(self, thread: str, upto: int) -> None:
        """Forget the oldest messages."""
        self._call("fold", self._space + thread, upto, "", "")

    def claim(self, thread: str, token: str, seconds: float) -> int:
        """Begin to summarise a thread."""
        return int(self._call("claim", self._space + thread, token, _ms(seconds)))

    def fold(self, thread: str, token: str, summary: bytes, *, upto: int) -> bool:
        """Let a summary stand for the oldest messages."""
        return bool(self._call("fold", self._space + thread, upto, token, summary))

    def release(self, thread: str, token: str, *, pause: float = 0.0, why: str = "") -> None:
        """End a claim."""
        self._call("release", self._space + thread, token, round(pause * 1000), why)

    def unsummarised(self, *, limit: int = 100) -> Sequence[Unsummarised]:
        """Return the threads whose summary is under way or has failed."""
        space = self._space.encode()
        with translated():
            late: Any = self._client.zrange(_LATE, 0, -1, withscores=True)
            named = [
                (name.decode().removeprefix(self._space), ms)
                for name, ms in late
                if name.startswith(space)
            ][:limit]
            pipe = self._client.pipeline(transaction=False)
            for name, _ in named:
                pipe.hmget(self._key(name, "head"), "tries", "why").llen(self._key(name, "log"))
            found = pipe.execute()
        rows = zip(named, found[::2], found[1::2], strict=True)
        return [
            Unsummarised(
                name=name,
                messages=messages,
                since=ms / 1000,
                tries=int(tries),
                why=(why or b"").decode("utf-8", "replace"),
            )
            for (name, ms), (tries, why), messages in rows
            if tries is not None  # its time is over, or it has been summarised since
        ]

    def put(
        self, thread: str, facts: Mapping[str, bytes | None], *, ttl: float | None = None
    ) -> None:
        """Keep values by name."""
        flat = [part for name, packed in facts.items() for part in (name, packed or b"")]
        self._call("put", self._space + thread, _ms(ttl), *flat)

    def facts(self, thread: str) -> Mapping[str, bytes]:
        """Return the values that are not forgotten."""
        flat = self._call("facts", self._space + thread)
        return {name.decode(): packed for name, packed in zip(flat[::2], flat[1::2], strict=True)}

    def clear(self, thread: str) -> bool:
        """Forget a thread."""
        with translated():
            pipe = self._client.pipeline(transaction=True)
            keys = [self._key(thread, part) for part in _PARTS]
            pipe.delete(*keys).zrem(_INDEX, self._space + thread).zrem(_LATE, self._space + thread)
            gone, known, _ = pipe.execute()
        return bool(gone or known)

    def tidy(self) -> int:
        """Let go the names of threads whose time is over, of every space."""
        with translated():
            found: Any = self._client.zscan(_INDEX, cursor=self._cursor, count=_PAGE)
        self._cursor, page = found
        return int(self._call("tidy", *(name for name, _ in page))) if page else 0

    def threads(self, *, prefix: str = "", limit: int = 100) -> Sequence[Thread]:
        """Return threads, and let go the names of those whose time is over."""
        found: list[Thread] = []
        start = 0
        while len(found) < limit:
            with translated():
                page: Any = self._client.zrevrange(
                    _INDEX, start, start + _PAGE - 1, withscores=True
                )
            if not page:
                break
            ours = self._space + prefix
            found += self._rows(
                [
                    (name.decode().removeprefix(self._space), ms)
                    for name, ms in page
                    if name.decode().startswith(ours)
                ]
            )
            start += _PAGE
        return found[:limit]

    def _rows(self, named: Sequence[tuple[str, float]]) -> list[Thread]:
        with translated():
            pipe = self._client.pipeline(transaction=False)
            for name, _ in named:
                pipe.llen(self._key(name, "log")).hlen(self._key(name, "facts"))
                pipe.exists(self._key(name, "head")).llen(self._key(name, "pinned"))
            found = iter(pipe.execute())
            kept, gone = [], []
            for (name, ms), log, facts, head, pinned in zip(
                named, found, found, found, found, strict=True
            ):
                if head or facts:
                    count = log + pinned
                    row = Thread(name=name, messages=count, facts=facts, updated=ms / 1000)
                    kept.append(row)
                else:
                    gone.append(self._space + name)
            if gone:
                self._client.zrem(_INDEX, *gone)
        return kept

    def _key(self, thread: str, part: str) -> str:
        return f"fc:{{mem:{self._space}{thread}}}:{part}"

    def _call(self, name: str, *arguments: Any) -> Any:
        with translated():
            return self._scripts[name](args=arguments)


class ShardedMemory:
    """Implements ``MemoryStore`` on several servers: each thread is whole on one of them."""

    def __init__(self, parts: Mapping[str, MemoryStore]) -> None:
        """Share threads between ``parts``, by the names of their servers."""
        self._names = list(parts)
        self._parts = list(parts.values())

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
        return self._home(thread).append(thread, packed, leading=leading, ttl=ttl, key=key)

    def read(self, thread: str) -> Conversation:
        """Return what is kept of a thread's messages."""
        return self._home(thread).read(thread)

    def drop(self, thread: str, upto: int) -> None:
        """Forget the oldest messages."""
        self._home(thread).drop(thread, upto)

    def claim(self, thread: str, token: str, seconds: float) -> int:
        """Begin to summarise a thread."""
        return self._home(thread).claim(thread, token, seconds)

    def fold(self, thread: str, token: str, summary: bytes, *, upto: int) -> bool:
        """Let a summary stand for the oldest messages."""
        return self._home(thread).fold(thread, token, summary, upto=upto)

    def release(self, thread: str, token: str, *, pause: float = 0.0, why: str = "") -> None:
        """End a claim."""
        self._home(thread).release(thread, token, pause=pause, why=why)

    def unsummarised(self, *, limit: int = 100) -> Sequence[Unsummarised]:
        """Return the threads of all servers whose summary is under way or has failed."""
        rows = [row for part in self._parts for row in part.unsummarised(limit=limit)]
        return sorted(rows, key=lambda row: (row.since, row.name))[:limit]

    def put(
        self, thread: str, facts: Mapping[str, bytes | None], *, ttl: float | None = None
    ) -> None:
        """Keep values by name."""
        self._home(thread).put(thread, facts, ttl=ttl)

    def facts(self, thread: str) -> Mapping[str, bytes]:
        """Return the values that are not forgotten."""
        return self._home(thread).facts(thread)

    def clear(self, thread: str) -> bool:
        """Forget a thread."""
        return self._home(thread).clear(thread)

    def tidy(self) -> int:
        """Let go the names of threads whose time is over, on all servers."""
        return sum(part.tidy() for part in self._parts)

    def threads(self, *, prefix: str = "", limit: int = 100) -> Sequence[Thread]:
        """Return threads of all servers, those written last first."""
        rows = [row for part in self._parts for row in part.threads(prefix=prefix, limit=limit)]
        return sorted(rows, key=lambda row: (row.updated, row.name), reverse=True)[:limit]

    def _home(self, thread: str) -> MemoryStore:
        return self._parts[home_of(f"mem:{thread}", self._names)]


def _ms(seconds: float | None) -> int | str:
    return "" if seconds is None else max(1, round(seconds * 1000))


#: What Lua has packed: its text is bytes.
_unpack: Callable[[bytes], Any] = partial(msgpack.unpackb, raw=True)
