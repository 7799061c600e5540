"""Pools of connections that are bounded, and in which one waits for a connection.

In: how to connect. Out: pools. Not here: timeouts and retries (connect).
"""

import threading
import time
from typing import Any

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MaxConnectionsError
from redis.sentinel import SentinelConnectionPool

__all__ = [
    "MOST_CONNECTIONS",
    "BoundedPool",
    "BoundedSentinelPool",
    "PoolExhaustedError",
    "renew_pool",
]

#: Connections of one pool. A command takes a fraction of a millisecond, so that many threads share
#: few; who finds none free waits.
MOST_CONNECTIONS = 64

#: Seconds for which one waits for a connection, and between two looks.
_PATIENCE, _PAUSE = 15.0, 0.002


class PoolExhaustedError(RedisConnectionError):
    """All connections of a pool have been in use for long."""


class _Waiting:
    """Waits for a connection instead of failing when there are as many as there may be."""

    def get_connection(self, *args: Any, **options: Any) -> Any:
        """Return a connection; ``PoolExhaustedError`` when none has been free for long."""
        ends = time.monotonic() + _PATIENCE
        while True:
            try:
                return super().get_connection(*args, **options)  # type: ignore[misc]  # a mixin
            except MaxConnectionsError as error:
                if time.monotonic() >= ends:
                    msg = (
                        f"all {MOST_CONNECTIONS} connections of this process have been in use for "
                        f"{_PATIENCE:.0f} s"
                    )
                    raise PoolExhaustedError(msg) from error
            time.sleep(_PAUSE)


class BoundedPool(_Waiting, redis.ConnectionPool):
    """Connections to one server."""


class BoundedSentinelPool(_Waiting, SentinelConnectionPool):
    """Connections to the primary that Sentinels name."""


def renew_pool(pool: Any) -> None:
    """Let a pool begin anew in a forked child.

    The library would do that when the pool is next used, but waits for a lock that another thread
    of the parent may have held.
    """
    pool._lock = threading.RLock()  # noqa: SLF001  (it has no other way)
    pool._fork_lock = threading.Lock()  # noqa: SLF001
    pool.reset()
