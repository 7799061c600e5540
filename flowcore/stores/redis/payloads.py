"""Payloads in Redis, cut into chunks; and the ledger of spaces, whatever store they are in.

In: payloads, run ids. Out: keys that no single command is large for.

``fc:{run}:pl:TOKEN`` (hash) gives the number of chunks of each payload in a space; the chunks are
``fc:{run}:pl:TOKEN:SHA256:N``. ``fc:payloads`` (hash) gives the token of each run that has
payloads, ``fc:payloads:due`` (sorted set) when to look at each space next.
"""

import secrets
from collections.abc import Iterator, Sequence

from flowcore.errors import PayloadStoreError
from flowcore.run.reference import Reference
from flowcore.stores.redis.connection.connect import Client, translated
from flowcore.stores.redis.connection.script import script_source, script_text
from flowcore.stores.redis.keys import run_key

__all__ = ["CHUNK", "RedisLedger", "RedisPayloads"]

#: Bytes of one chunk.
CHUNK = 512 * 1024

#: Chunks on the way at once, so that neither end buffers much more than 4 MiB.
_AT_ONCE = 8

_DAY = 86400.0


class RedisPayloads:
    """Implements ``PayloadStore`` on the server that holds the runs.

    The number of chunks is noted before the first one is written, so that what a dead worker left
    is removed with the rest.
    """

    place = "redis"

    def __init__(self, client: Client) -> None:
        """Use ``client``; nothing is sent yet."""
        self._client = client

    def put(self, reference: Reference, payload: bytes) -> None:
        """Write a payload chunk by chunk."""
        with translated():
            self._client.hset(_index(reference.space), reference.digest, _count(reference.size))
            for some in _batches(reference.size):
                pipe = self._client.pipeline(transaction=False)
                for number in some:
                    chunk = payload[number * CHUNK : (number + 1) * CHUNK]
                    pipe.set(_chunk(reference.space, reference.digest, number), chunk)
                pipe.execute()

    def get(self, reference: Reference) -> bytes | None:
        """Read a payload chunk by chunk; None when one is missing."""
        found: list[bytes] = []
        with translated():
            for some in _batches(reference.size):
                pipe = self._client.pipeline(transaction=False)
                for number in some:
                    pipe.get(_chunk(reference.space, reference.digest, number))
                chunks = pipe.execute()
                if any(chunk is None for chunk in chunks):
                    return None
                found += chunks
        return b"".join(found)

    def remove(self, space: str) -> None:
        """Remove a space, the index last."""
        with translated():
            for digest, count in self._client.hgetall(_index(space)).items():
                for start in range(0, int(count), 1000):
                    numbers = range(start, min(start + 1000, int(count)))
                    self._client.unlink(*(_chunk(space, digest.decode(), n) for n in numbers))
            self._client.unlink(_index(space))


class RedisLedger:
    """Implements ``PayloadLedger``."""

    def __init__(self, client: Client, *, look: float = 60.0) -> None:
        """Use ``client``; nothing is sent yet.

        Args:
            client: The server that holds the runs.
            look: Seconds between two looks at a space of a run that goes on.
        """
        self._enter = client.register_script(script_source("payloads/enter"))
        self._due = client.register_script(script_text("trouble", "payloads/due"))
        self._client = client
        self._look = round(look * 1000)

    def enter(self, run: str) -> str:
        """Note a run's space."""
        token = secrets.token_hex(8)
        with translated():
            space = self._enter(args=(run, token, self._look, round(_DAY * 1000)))
        return _text(space)

    def orphans(self, *, limit: int = 100) -> Sequence[str] | None:
        """Look at spaces that are due."""
        with translated():
            looked, spaces = self._due(args=(limit, self._look))
        return list(map(_text, spaces)) if looked else None

    def forget(self, space: str) -> None:
        """Strike out a space."""
        with translated():
            self._client.zrem("fc:payloads:due", space)


def _text(word: object) -> str:
    if not isinstance(word, bytes):
        msg = f"Redis answered {word!r} where a space was expected; run 'flowcore doctor'"
        raise PayloadStoreError(msg)
    return word.decode()


def _index(space: str) -> str:
    run, _, token = space.rpartition(".")
    return run_key(run, f"pl:{token}")


def _chunk(space: str, digest: str, number: int) -> str:
    return f"{_index(space)}:{digest}:{number}"


def _count(size: int) -> int:
    return -(-size // CHUNK)


def _batches(size: int) -> Iterator[range]:
    for start in range(0, _count(size), _AT_ONCE):
        yield range(start, min(start + _AT_ONCE, _count(size)))
