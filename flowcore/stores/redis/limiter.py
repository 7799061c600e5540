"""Limits on Redis: sorted sets of holders, whose places end with their leases.

In: what attempts want. Out: the scripts' answers. See lua/acquire.lua for what is kept.
"""

import math
import time
from collections.abc import Sequence
from importlib import resources

from flowcore.ports.limiter import Places, RateLimitState
from flowcore.stores.redis.connection.connect import Client, translated
from flowcore.stores.redis.connection.script import Script, ScriptConnection

__all__ = ["RedisLimiter"]

#: Seconds after which one that waits for a place asks again; mostly it is woken before.
_POLL = 5.0

#: Seconds after which places are free whose holders wait without a worker, and no other came.
_FORGOTTEN = 90 * 86400


class RedisLimiter:
    """Implements ``Limiter``."""

    def __init__(self, client: Client, *, lease: float) -> None:
        """Use ``client``; a place that is not renewed for ``lease`` seconds is free again."""
        line, folder = ScriptConnection(client), resources.files("flowcore.stores.redis") / "lua"
        self._client = client
        self._acquire = Script(line, (folder / "acquire.lua").read_text())
        self._release = Script(line, (folder / "release.lua").read_text())
        self._lease = round(lease * 1000)

    def acquire(
        self, holder: str, *, places: Places | None, rate: RateLimitState | None
    ) -> float | None:
        """Take a place, and a turn."""
        arguments = (
            holder,
            self._lease,
            round(_POLL * 1000),
            *((_key(places.name), places.limit) if places else ("", 0)),
            *((_key(rate.name), rate.limit, round(rate.per * 1e6)) if rate else ("", 0, 0)),
            "" if places is None or places.max_wait is None else round(places.max_wait * 1000),
        )
        with translated():
            wait: int = self._acquire(args=arguments)
        if wait < 0:
            return None if wait == -1 else math.inf
        return wait / 1000

    def renew(self, held: Sequence[tuple[str, str]]) -> None:
        """Prolong places that are still held."""
        with translated():
            seconds, micros = self._client.time()
            until = int(seconds * 1000 + micros / 1000) + self._lease
            pipe = self._client.pipeline(transaction=False)
            for name, holder in held:
                pipe.zadd(f"{_key(name)}:held", {holder: until}, xx=True)
                pipe.pexpire(f"{_key(name)}:held", 2 * self._lease)
            pipe.execute()

    def keep(self, name: str, holder: str) -> None:
        """Keep a place without renewals."""
        with translated():
            pipe = self._client.pipeline(transaction=True)
            pipe.zadd(f"{_key(name)}:kept", {holder: time.time()})
            pipe.expire(f"{_key(name)}:kept", _FORGOTTEN)
            pipe.zrem(f"{_key(name)}:held", holder)
            pipe.execute()

    def kept(self, name: str) -> Sequence[str]:
        """The holders of such places."""
        with translated():
            return [one.decode() for one in self._client.zrange(f"{_key(name)}:kept", 0, -1)]

    def release(self, name: str, limit: int, holder: str) -> Sequence[str]:
        """Give a place back to the first in the line."""
        with translated():
            woken = self._release(args=(_key(name), limit, holder, self._lease))
        return [one.decode() for one in woken]


def _key(name: str) -> str:
    return f"fc:{{limit:{name}}}"
