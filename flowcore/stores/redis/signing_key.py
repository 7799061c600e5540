"""The key that signs messages, kept where the runs are.

In: a key for a server that has none. Out: the server's key. Not here: signatures (backends).
"""

from collections.abc import Mapping, Sequence

from flowcore.stores.redis.connection.connect import Client, translated
from flowcore.stores.redis.connection.fanout import Fanout
from flowcore.stores.redis.connection.health import Health

__all__ = ["SECRET", "RedisVault", "ShardedVault"]

SECRET = "fc:secret"  # noqa: S105  (the name of a key)

_PATIENCE = 1.0


class RedisVault:
    """One server's key."""

    def __init__(self, client: Client) -> None:
        """Send nothing yet."""
        self._client = client

    def __call__(self, fresh: bytes) -> Mapping[int, bytes]:
        """Return the key that the server has, which is ``fresh`` if it had none."""
        return {0: self.keep(fresh)}

    def keep(self, fresh: bytes) -> bytes:
        """Return the server's key."""
        with translated():
            had: bytes | None = self._client.set(SECRET, fresh, nx=True, get=True)
        return fresh if had is None else had


class ShardedVault:
    """The keys of several servers: any one that answers will do."""

    def __init__(self, vaults: Sequence[RedisVault], health: Health) -> None:
        """Send nothing yet."""
        self._vaults = vaults
        self._asks: Fanout[bytes] = Fanout(health, patience=_PATIENCE)

    def __call__(self, fresh: bytes) -> Mapping[int, bytes]:
        """Return the keys of those that answer; ``fresh`` becomes that of those that had none."""
        return self._asks.ask(
            {at: lambda vault=vault: vault.keep(fresh) for at, vault in enumerate(self._vaults)}  # type: ignore[misc]
        )
