"""The board of workers on Redis.

In: notes. Out: keys that expire by themselves.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

import msgpack

from flowcore.ports.listing import Listing
from flowcore.ports.workers import WorkerInfo
from flowcore.run.protocol import WIRE_BEFORE
from flowcore.stores.redis.connection.connect import Client, translated

__all__ = ["RedisWorkerBoard"]

_BOARD = "fc:workers"

#: What workers offer by name: apart, because notes are read often and these are long.
_CALLABLES = "fc:workers:callables"

#: What ends the field of a worker's other processes: those import modules that the worker does not.
_OTHERS = "+"

#: Seconds between two writings of that by one worker: a server may have been emptied.
_AGAIN = 20.0

_T = TypeVar("_T")


class RedisWorkerBoard:
    """Implements ``WorkerRegistry``: a hash of notes, each with its time of expiry."""

    def __init__(self, client: Client) -> None:
        """Use ``client``; nothing is sent yet."""
        self._client = client
        self._offered: tuple[str, float] = ("", 0.0)

    def post(self, note: WorkerInfo, *, keep: float, callables: Sequence[str] = ()) -> None:
        """Write a note with the server's time at which it goes stale."""
        with translated():
            seconds, micros = self._client.time()
            entry = {**asdict(note), "until": seconds + micros / 1e6 + keep}
            self._client.hset(_BOARD, note.id, msgpack.packb(entry))
            self._offer(note.id, callables)

    def offer(self, id: str, callables: Sequence[str]) -> None:
        """Write what the worker's other processes offer."""
        with translated():
            self._offer(f"{id}{_OTHERS}", callables)

    def remove(self, id: str) -> None:
        """Take a note down."""
        with translated():
            self._client.hdel(_BOARD, id)
            self._client.hdel(_CALLABLES, *_fields([id]))

    def count(self) -> int:
        """Return how many notes there are, stale ones included."""
        with translated():
            return int(self._client.hlen(_BOARD))

    def workers(self) -> Listing[WorkerInfo]:
        """Return the fresh notes and drop the stale ones."""
        fresh: Listing[WorkerInfo] = Listing()
        stale: list[bytes] = []
        with translated():
            now, _ = self._client.time()
            for id, blob in self._client.hgetall(_BOARD).items():
                with fresh.reading(id):
                    entry = msgpack.unpackb(blob)
                    if float(entry["until"]) >= now:
                        fresh.append(_note(id, entry))
                    else:
                        stale.append(id)
            if stale:
                self._client.hdel(_BOARD, *stale)
                self._client.hdel(_CALLABLES, *_fields(stale))
        fresh.sort(key=lambda note: (note.name, note.pid, note.id))
        return fresh

    def callables(self) -> frozenset[str]:
        """Return what live workers offer by name."""
        live = set(_fields(note.id for note in self.workers()))
        with translated():
            found = self._client.hgetall(_CALLABLES)
        offers: Listing[str] = Listing()
        for id, blob in found.items():
            if id in live:
                with offers.reading(id):
                    offers += [_as(str, name) for name in _as(list, msgpack.unpackb(blob))]
        return frozenset(offers)

    def _offer(self, field: str, callables: Sequence[str]) -> None:
        known, offered = self._offered
        now = time.monotonic()
        if callables and (known != field or now - offered > _AGAIN):
            self._client.hset(_CALLABLES, field, msgpack.packb(list(callables)))
            self._offered = (field, now)


def _fields(ids: Iterable[str | bytes]) -> list[bytes]:
    """The fields that hold what these workers offer."""
    named = [id if isinstance(id, bytes) else id.encode() for id in ids]
    return [id + end for id in named for end in (b"", _OTHERS.encode())]


def _note(id: bytes, entry: Mapping[str, Any]) -> WorkerInfo:
    """Read a note; one of another version may have fewer fields, or more."""
    return WorkerInfo(
        id=id.decode(),
        name=_as(str, entry["name"]),
        queues=tuple(_as(str, queue) for queue in _as(list, entry["queues"])),
        concurrency=_as(int, entry["concurrency"]),
        pool=_as(str, entry["pool"]),
        pid=_as(int, entry["pid"]),
        version=_as(str, entry.get("version", "")),
        wire=_as(int, entry.get("wire", WIRE_BEFORE)),
        engines={_as(str, k): _as(str, v) for k, v in _as(dict, entry.get("engines", {})).items()},
        memory=_as(int, entry.get("memory", 0)),
        stuck=_as(int, entry.get("stuck", 0)),
    )


def _as(kind: type[_T], value: object) -> _T:
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} instead of {kind.__name__}")
    return value
