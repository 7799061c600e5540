"""Refused messages on Redis: a list that is cut at its end, and a counter.

In: refusals. Out: two keys.
"""

from collections.abc import Sequence
from dataclasses import asdict

import msgpack

from flowcore.ports.listing import Listing
from flowcore.ports.refusals import Refusal
from flowcore.stores.redis.connection.connect import Client, translated

__all__ = ["KEPT", "RedisRefusals"]

_LIST, _COUNT = "fc:refused", "fc:refused:count"

KEPT = 500
"""Refusals that are kept; of older ones only the number is known."""


class RedisRefusals:
    """Implements ``RefusalLog``."""

    def __init__(self, client: Client) -> None:
        """Use ``client``; nothing is sent yet."""
        self._client = client

    def keep(self, refusals: Sequence[Refusal], *, count: int) -> None:
        """Add refusals, the latest last, and count so many."""
        packed = [msgpack.packb(asdict(one)) for one in refusals[-KEPT:]]
        with translated():
            pipe = self._client.pipeline(transaction=True)
            if packed:
                pipe.lpush(_LIST, *packed).ltrim(_LIST, 0, KEPT - 1)
            pipe.incrby(_COUNT, count).execute()

    def count(self) -> int:
        """Return how many there were since the list was last cleared."""
        with translated():
            return int(self._client.get(_COUNT) or 0)

    def latest(self, *, limit: int = 50) -> Listing[Refusal]:
        """Return refusals, latest first."""
        with translated():
            packed = self._client.lrange(_LIST, 0, limit - 1)
        found: Listing[Refusal] = Listing()
        for at, one in enumerate(packed):
            with found.reading(f"message {at}"):
                found.append(Refusal(**msgpack.unpackb(one)))
        return found

    def drop(self) -> int:
        """Clear the list and the count; return what the count was."""
        with translated():
            pipe = self._client.pipeline(transaction=True)
            count, _, _ = pipe.get(_COUNT).delete(_COUNT).delete(_LIST).execute()
        return int(count or 0)
