"""The board of workers on Redis.

In: notes. Out: keys that expire by themselves.
"""

from collections.abc import Sequence
from dataclasses import asdict

import msgpack

from flowcore.ports.presence import WorkerNote
from flowcore.stores.redis.connect import Client, translated

__all__ = ["RedisWorkerBoard"]

_BOARD = "fc:workers"


class RedisWorkerBoard:
    """Implements ``WorkerBoard``: a hash of notes, each with its time of expiry."""

    def __init__(self, client: Client) -> None:
        """Use ``client``; nothing is sent yet."""
        self._client = client

    def post(self, note: WorkerNote, *, keep: float) -> None:
        """Write a note with the server's time at which it goes stale."""
        with translated():
            seconds, micros = self._client.time()
            entry = {**asdict(note), "until": seconds + micros / 1e6 + keep}
            self._client.hset(_BOARD, note.name, msgpack.packb(entry))

    def remove(self, name: str) -> None:
        """Take a note down."""
        with translated():
            self._client.hdel(_BOARD, name)

    def count(self) -> int:
        """Return how many notes there are, stale ones included."""
        with translated():
            return int(self._client.hlen(_BOARD))

    def workers(self) -> Sequence[WorkerNote]:
        """Return the fresh notes and drop the stale ones."""
        with translated():
            now, _ = self._client.time()
            notes = {
                name: msgpack.unpackb(blob) for name, blob in self._client.hgetall(_BOARD).items()
            }
            stale = [name for name, entry in notes.items() if entry["until"] < now]
            if stale:
                self._client.hdel(_BOARD, *stale)
        return [
            WorkerNote(
                name=entry["name"],
                queues=tuple(entry["queues"]),
                concurrency=entry["concurrency"],
                pool=entry["pool"],
                pid=entry["pid"],
            )
            for name, entry in sorted(notes.items())
            if name not in stale
        ]
