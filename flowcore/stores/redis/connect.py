"""Connections to Redis or Valkey, with every timeout and retry set on purpose.

In: a URL. Out: clients. Not here: what is said to them.

Each new connection asks the server what it is. That is one small command in the life of a
connection, and it is how a Cluster, a Sentinel or a replica is refused with a sentence before the
first write, in a worker, a client and ``doctor`` alike.
"""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import redis
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelManagedConnection

from flowcore.errors import ServiceError, StoreUnreachableError
from flowcore.stores.redis.sentinel import SentinelAddress, is_sentinel

__all__ = ["Client", "WrongServerError", "connect", "translated"]

#: redis-py types each answer as ``bytes | str``; with decoding off, as here, they are bytes.
Client: TypeAlias = Any

#: A frozen server must not freeze its clients for ever, nor a slow script look like one.
ANSWER_TIMEOUT = 15.0
CONNECT_TIMEOUT = 5.0
RETRIES = 4

#: Beside a failover: each try asks the Sentinels anew, and both the library's connections and its
#: commands try so often, 3 s where a connection is made and 27 s where one breaks.
_FAILOVER_RETRIES = 8

#: A Sentinel that does not answer at once is passed over for the next one.
_SENTINEL_TIMEOUT = 1.0

#: A server that is gone without a word is noticed after 10 + 3 x 5 s, where one may wait long.
_KEEPALIVE = {
    option: value
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
    if (option := getattr(socket, name, None)) is not None
}


class WrongServerError(ServiceError):
    """There is a server, but not one that could hold runs: a Cluster or a Sentinel."""

    code = "FC603"


def connect(url: str, *, blocking: bool = False) -> Client:
    """Return a client for ``url``; nothing is sent yet.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://`` or ``sentinel://``.
        blocking: For a reader that waits in ``XREAD BLOCK``: no answer timeout.
    """
    retries = _FAILOVER_RETRIES if is_sentinel(url) else RETRIES
    options: dict[str, Any] = {
        "socket_timeout": None if blocking else ANSWER_TIMEOUT,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "retry": Retry(ExponentialBackoff(cap=0.5, base=0.05), retries),
        "retry_on_error": [RedisConnectionError, RedisTimeoutError],
        "health_check_interval": 0 if blocking else 30,
        "redis_connect_func": _greet,
    }
    if not url.startswith("unix://"):
        options |= {"socket_keepalive": True, "socket_keepalive_options": _KEEPALIVE}
    if not is_sentinel(url):
        return redis.Redis.from_url(url, **options)
    address = SentinelAddress.parse(url)
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]  # redis-py's own
        address.hosts,
        sentinel_kwargs={
            "socket_timeout": _SENTINEL_TIMEOUT,
            "socket_connect_timeout": _SENTINEL_TIMEOUT,
            "retry": Retry(ExponentialBackoff(), 0),
            **address.sentinel_login,
        },
    )
    options |= {"connection_class": _FollowingConnection, "db": address.db, **address.login}
    return sentinel.master_for(address.name, **options)


class _FollowingConnection(SentinelManagedConnection):
    """A connection that asks the Sentinels each time it is made.

    redis-py's own does so when its pool makes it, but one that broke in the middle of a command is
    made again to where it was: to the primary that has just died.
    """

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002  (redis-py's)
        if self._sock is None:
            self.connect()  # type: ignore[no-untyped-call]  # redis-py's own
        super().send_packed_command(command, check_health)  # type: ignore[no-untyped-call]


def _greet(connection: Any) -> None:
    """Enter as the library would, then ask the server what it is.

    Raises:
        WrongServerError: A Cluster or a Sentinel; no use to try again.
        redis.exceptions.ConnectionError: A replica, which may be a primary soon, or was one: each
            retry asks the Sentinels anew.
    """
    try:
        connection.on_connect()
        _judge(_hello(connection))
    except BaseException:
        connection.disconnect()
        raise


def _judge(about: Mapping[str, str]) -> None:
    if problem := _WRONG.get(about.get("mode", "")):
        raise WrongServerError(problem)
    if about.get("role") in ("replica", "slave"):
        raise RedisConnectionError(_REPLICA)


_REPLICA = "this server is a replica: name its primary, or its Sentinels with sentinel://"

_WRONG = {
    "cluster": (
        "this server is part of a Redis Cluster, which flowcore cannot use: a run and the agenda "
        "of all runs are written in one step, which a Cluster cannot do; use a server of its own, "
        "or sentinel:// for one that fails over (docs/how-to/brokers.md)"
    ),
    "sentinel": (
        "this server is a Sentinel, which holds no data; write "
        "sentinel://host:26379,host:26379/name-of-the-primary/0"
    ),
}


def _hello(connection: Any) -> dict[str, str]:
    """What the server says it is; nothing where a proxy does not know the command.

    Every user may say HELLO; INFO would need a right of its own.
    """
    connection.send_command("HELLO", check_health=False)
    try:
        answer = connection.read_response()
    except ResponseError:
        return {}
    pairs = (
        answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
    )
    return {
        name.decode(): value.decode()
        for name, value in pairs
        if isinstance(name, bytes) and isinstance(value, bytes)
    }


@contextmanager
def translated() -> Iterator[None]:
    """Turn the client library's errors into flowcore's own."""
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        msg = f"cannot reach Redis: {error}; check FLOWCORE_REDIS_URL or run 'flowcore doctor'"
        raise StoreUnreachableError(msg) from error
    except RedisError as error:
        if str(error).startswith("NOREPLICAS"):
            # min-replicas-to-write: it may take writes again soon, as after any other trouble.
            msg = f"Redis takes no writes now: {error}; are its replicas up?"
            raise StoreUnreachableError(msg) from error
        msg = f"Redis refused: {error}; run 'flowcore doctor'"
        raise ServiceError(msg) from error
