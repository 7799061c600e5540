"""Troubles on Redis: one hash, which the sweeping scripts write, too (lua/trouble.lua).

In: loops, items, why. Out: what is left for later.
"""

from collections.abc import Sequence

import msgpack

from flowcore.errors import FlowcoreError, StoreUnreachableError
from flowcore.ports.troubles import MOST_TROUBLES, Trouble
from flowcore.stores.redis.connection.connect import Client, translated
from flowcore.stores.redis.connection.fanout import Fanout
from flowcore.stores.redis.connection.health import Health
from flowcore.stores.redis.connection.script import Script, ScriptConnection, script_text

__all__ = ["RedisTroubles", "ShardedTroubles"]

_KEY = "fc:troubles"

#: Seconds after which a trouble that nobody noted again is over: items are tried again more often.
_FRESH = 900.0


class RedisTroubles:
    """Implements ``TroubleBook`` on one server."""

    def __init__(self, client: Client) -> None:
        """Use ``client``; nothing is sent yet."""
        self._client = client
        self._note = Script(ScriptConnection(client), script_text("trouble", "troubles/note"))

    def note(self, loop: str, item: str, why: str) -> None:
        """Note a trouble, and forget the oldest when there are many."""
        words = (part.encode("utf-8", "backslashreplace") for part in (loop, item, why))
        with translated():
            self._note(args=(*words, MOST_TROUBLES))

    def clear(self, loop: str, item: str) -> None:
        """Forget a trouble."""
        with translated():
            self._client.hdel(_KEY, f"{loop}|{item}".encode("utf-8", "backslashreplace"))

    def troubles(self) -> Sequence[Trouble]:
        """Return what was noted in the last quarter of an hour; forget the rest."""
        with translated():
            kept = self._client.hgetall(_KEY)
            now = float(self._client.time()[0])
            found = [_read(field, blob) for field, blob in kept.items()]
            fresh = [one for one in found if now - one.last < _FRESH]
            old = [field for field, one in zip(kept, found, strict=True) if one not in fresh]
            if old:
                self._client.hdel(_KEY, *old)
        return sorted(fresh, key=lambda one: one.last, reverse=True)


class ShardedTroubles:
    """Implements ``TroubleBook`` on several servers: noted on one that answers, read of all."""

    def __init__(
        self, books: Sequence[RedisTroubles], health: Health, *, patience: float = 0.5
    ) -> None:
        """Use the servers of ``health``; wait for one so many seconds."""
        self._books = books
        self._health = health
        self._writes: Fanout[None] = Fanout(health, patience=patience)
        self._reads: Fanout[Sequence[Trouble]] = Fanout(health, patience=4 * patience)

    def note(self, loop: str, item: str, why: str) -> None:
        """Note a trouble on the first server that answers."""
        at = self._health.first(range(len(self._books)))[0]
        self._writes.ask({at: lambda: self._books[at].note(loop, item, why)})

    def clear(self, loop: str, item: str) -> None:
        """Forget a trouble on all servers that answer."""

        def clear_at(book: RedisTroubles) -> None:
            book.clear(loop, item)

        books = enumerate(self._books)
        self._writes.ask({at: lambda book=book: clear_at(book) for at, book in books})  # type: ignore[misc]

    def troubles(self) -> Sequence[Trouble]:
        """Return what is noted on any server that answers."""
        try:
            pages = self._reads.ask({at: book.troubles for at, book in enumerate(self._books)})
        except StoreUnreachableError:
            raise
        except FlowcoreError:
            return ()
        found = [one for page in pages.values() for one in page]
        return sorted(found, key=lambda one: one.last, reverse=True)


def _read(field: bytes, blob: bytes) -> Trouble:
    loop, _, item = field.decode("utf-8", "backslashreplace").partition("|")
    try:
        count, since, last, why = msgpack.unpackb(blob, raw=True)
        return Trouble(
            loop=loop,
            item=item,
            why=why.decode("utf-8", "backslashreplace"),
            count=int(count),
            since=since / 1000,
            last=last / 1000,
        )
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException):
        return Trouble(loop=loop, item=item, why="its note cannot be read")
