"""Outputs that many may use, on Redis: one string each, which ends by itself.

In: packed outputs. Out: the same.
"""

from flowcore.stores.redis.connection.connect import Client, translated

__all__ = ["RedisCache"]


class RedisCache:
    """Implements ``Cache``."""

    def __init__(self, client: Client) -> None:
        """Use ``client``."""
        self._client = client

    def get(self, key: str) -> bytes | None:
        """Return what is kept under a key."""
        with translated():
            found: bytes | None = self._client.get(_key(key))
        return found

    def put(self, key: str, value: bytes, *, ttl: float) -> None:
        """Keep a value for ``ttl`` seconds."""
        with translated():
            self._client.set(_key(key), value, px=max(1, round(ttl * 1000)))


def _key(key: str) -> str:
    return f"fc:{{cache:{key}}}"
