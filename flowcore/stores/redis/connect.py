"""Connections to Redis or Valkey, with every timeout and retry set on purpose.

In: a URL. Out: clients. Not here: what is said to them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from flowcore.errors import ServiceError, StoreUnreachableError

__all__ = ["Client", "connect", "translated"]

#: redis-py types each answer as ``bytes | str``; with decoding off, as here, they are bytes.
Client: TypeAlias = Any

#: A frozen server must not freeze its clients for ever, nor a slow script look like one.
ANSWER_TIMEOUT = 15.0
CONNECT_TIMEOUT = 5.0
RETRIES = 4


def connect(url: str, *, blocking: bool = False) -> Client:
    """Return a client for ``url``; nothing is sent yet.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        blocking: For a reader that waits in ``XREAD BLOCK``: no answer timeout.
    """
    return redis.Redis.from_url(
        url,
        socket_timeout=None if blocking else ANSWER_TIMEOUT,
        socket_connect_timeout=CONNECT_TIMEOUT,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), RETRIES),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        health_check_interval=0 if blocking else 30,
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn the client library's errors into flowcore's own."""
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        msg = f"cannot reach Redis: {error}; check FLOWCORE_REDIS_URL or run 'flowcore doctor'"
        raise StoreUnreachableError(msg) from error
    except RedisError as error:
        msg = f"Redis refused: {error}; run 'flowcore doctor'"
        raise ServiceError(msg) from error
