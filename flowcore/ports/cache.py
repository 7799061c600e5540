"""Outputs that count for all runs and workers, for a time.

In: packed outputs by key. Out: the same. Not here: which node's, for which arguments, and that
one of many that ask at once works it out (engine).
"""

from typing import Protocol

__all__ = ["Cache"]


class Cache(Protocol):
    """Keeps them; a value is there whole or not at all."""

    def get(self, key: str) -> bytes | None:
        """Return what is kept under a key."""
        ...

    def put(self, key: str, value: bytes, *, ttl: float) -> None:
        """Keep a value for ``ttl`` seconds; one that was there is replaced."""
        ...
