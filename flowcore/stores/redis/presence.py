"""The board of workers on Redis.

In: notes. Out: keys that expire by themselves.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import msgpack

from flowcore.ports.presence import WorkerNote
from flowcore.run.protocol import WIRE_BEFORE
from flowcore.stores.redis.connect import Client, translated

__all__ = ["RedisWorkerBoard"]

_BOARD = "fc:workers"

#: What workers offer by name: apart, because notes are read often and these are long.
_CALLABLES = "fc:workers:callables"

#: Seconds between two writings of that by one worker: a server may have been emptied.
_AGAIN = 20.0


class RedisWorkerBoard:
    """Implements ``WorkerBoard``: a hash of notes, each with its time of expiry."""

    def __init__(self, client: Client) -> None:
        """Use ``client``; nothing is sent yet."""
        self._client = client
        self._offered: tuple[str, float] = ("", 0.0)

    def post(self, note: WorkerNote, *, keep: float, callables: Sequence[str] = ()) -> None:
        """Write a note with the server's time at which it goes stale."""
        with translated():
            seconds, micros = self._client.time()
            entry = {**asdict(note), "until": seconds + micros / 1e6 + keep}
            self._client.hset(_BOARD, note.id, msgpack.packb(entry))
            now = time.monotonic()
            id, offered = self._offered
            if callables and (id != note.id or now - offered > _AGAIN):
                self._client.hset(_CALLABLES, note.id, msgpack.packb(list(callables)))
                self._offered = (note.id, now)

    def remove(self, id: str) -> None:
        """Take a note down."""
        with translated():
            self._client.hdel(_BOARD, id)
            self._client.hdel(_CALLABLES, id)

    def count(self) -> int:
        """Return how many notes there are, stale ones included."""
        with translated():
            return int(self._client.hlen(_BOARD))

    def workers(self) -> Sequence[WorkerNote]:
        """Return the fresh notes and drop the stale ones."""
        with translated():
            now, _ = self._client.time()
            notes = {id: msgpack.unpackb(blob) for id, blob in self._client.hgetall(_BOARD).items()}
            stale = [id for id, entry in notes.items() if entry["until"] < now]
            if stale:
                self._client.hdel(_BOARD, *stale)
                self._client.hdel(_CALLABLES, *stale)
        fresh = (_note(id, entry) for id, entry in notes.items() if id not in stale)
        return sorted(fresh, key=lambda note: (note.name, note.pid, note.id))

    def callables(self) -> frozenset[str]:
        """Return what live workers offer by name."""
        live = {note.id for note in self.workers()}
        with translated():
            found = self._client.hgetall(_CALLABLES)
        offers = (msgpack.unpackb(blob) for id, blob in found.items() if id.decode() in live)
        return frozenset(name for names in offers for name in names)


def _note(id: bytes, entry: Mapping[str, Any]) -> WorkerNote:
    """Read a note; one of another version may have fewer fields, or more."""
    return WorkerNote(
        id=id.decode(),
        name=entry["name"],
        queues=tuple(entry["queues"]),
        concurrency=entry["concurrency"],
        pool=entry["pool"],
        pid=entry["pid"],
        version=entry.get("version", ""),
        wire=entry.get("wire", WIRE_BEFORE),
        engines=entry.get("engines", {}),
        memory=entry.get("memory", 0),
        stuck=entry.get("stuck", 0),
    )
