"""Connections to Redis or Valkey, with every timeout and retry set on purpose.

In: a URL. Out: clients. Not here: what is said to them.

Each new connection asks the server what it is. That is one small command in the life of a
connection, and it is how a Cluster, a Sentinel or a replica is refused with a sentence before the
first write, in a worker, a client and ``doctor`` alike.
"""

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import redis
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    InvalidResponse,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelManagedConnection

from flowcore.errors import (
    ServiceError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
    UnprotectedServerError,
    WrongServerError,
)
from flowcore.forks import renew_after_fork
from flowcore.stores.redis.connection.pools import (
    MOST_CONNECTIONS,
    BoundedPool,
    BoundedSentinelPool,
    PoolExhaustedError,
    renew_pool,
)
from flowcore.stores.redis.connection.protection import (
    UNPROTECTED,
    is_unprotected,
    refuse_unprotected,
)
from flowcore.stores.redis.connection.sentinel import SentinelAddress, is_sentinel

__all__ = [
    "ANSWER_TIMEOUT_OF_SEVERAL",
    "MAKE_ROOM",
    "PROBE_TIMEOUT",
    "REFUSALS",
    "RETRIES",
    "Client",
    "connect",
    "is_full",
    "ping",
    "probe",
    "translated",
]

#: redis-py types each answer as ``bytes | str``; with decoding off, as here, they are bytes.
Client: TypeAlias = Any

#: A frozen server must not freeze its clients for ever, nor a slow script look like one.
ANSWER_TIMEOUT = 15.0
CONNECT_TIMEOUT = 5.0
RETRIES = 4

#: Of several servers one that hangs costs each caller so many seconds, and is not asked again at
#: once: the caller has the runs of others to look after.
ANSWER_TIMEOUT_OF_SEVERAL = 3.0

MAKE_ROOM = "raise its maxmemory or free its disk, or lower FLOWCORE_RETENTION for the runs to come"

#: A first question is answered within this many seconds, or not at all.
PROBE_TIMEOUT = 4.0

#: A wrong password does not become right by being sent again, although redis-py counts these
#: among its connection errors.
REFUSALS = (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    NoPermissionError,
)


class _Retry(Retry):
    """Tries again what may get better."""

    hopeless: tuple[type[Exception], ...] = ()

    def call_with_retry(
        self,
        do: Callable[[], Any],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,  # noqa: FBT001, FBT002  (redis-py's signature)
    ) -> Any:
        def worth_it(error: Exception) -> bool:
            if isinstance(error, (*REFUSALS, *self.hopeless)):
                return False
            return is_retryable is None or is_retryable(error)

        return super().call_with_retry(do, fail, worth_it, with_failure_count)


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


class _RetryUnlessSilent(_Retry):
    """Does not ask again a server that is there, but does not answer."""

    hopeless = (RedisTimeoutError,)


def connect(
    url: str, *, blocking: bool = False, unprotected: bool = False, is_one_of_several: bool = False
) -> Client:
    """Return a client for ``url``; nothing is sent yet.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://`` or ``sentinel://``.
        blocking: For a reader that waits in ``XREAD BLOCK``: no answer timeout.
        unprotected: Whether a server on another machine may do without a password.
        is_one_of_several: Whether callers have other servers to go on with, should it hang.
    """
    retry = _RetryUnlessSilent if is_one_of_several else _Retry
    answer = ANSWER_TIMEOUT_OF_SEVERAL if is_one_of_several else ANSWER_TIMEOUT
    retries = _FAILOVER_RETRIES if is_sentinel(url) else RETRIES
    options: dict[str, Any] = {
        "socket_timeout": None if blocking else answer,
        "socket_connect_timeout": min(answer, CONNECT_TIMEOUT),
        "retry": retry(ExponentialBackoff(cap=0.5, base=0.05), retries),
        "retry_on_error": [RedisConnectionError, RedisTimeoutError],
        "health_check_interval": 0 if blocking else 30,
        "redis_connect_func": _greet_any if unprotected else _greet,
    }
    if not url.startswith("unix://"):
        options |= {"socket_keepalive": True, "socket_keepalive_options": _KEEPALIVE}
    return _open(url, options)


def _open(url: str, options: dict[str, Any]) -> Client:
    """Make a client of a server, or of the primary that Sentinels name."""
    if not is_sentinel(url):
        pool = BoundedPool.from_url(url, max_connections=MOST_CONNECTIONS, **options)
        renew_after_fork(pool, renew_pool)
        return redis.Redis.from_pool(pool)
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
    options |= {"max_connections": MOST_CONNECTIONS}
    client: Client = sentinel.master_for(
        address.name, connection_pool_class=BoundedSentinelPool, **options
    )
    renew_after_fork(client.connection_pool, renew_pool)
    return client


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
    """Enter as the library would, then ask the server what it is, and whether it lets all in.

    Raises:
        UnprotectedServerError: It is on another machine, and wants no password.
        WrongServerError: As ``_greet_any``.
    """
    _greet_any(connection)
    if is_unprotected(connection):
        connection.disconnect()
        raise UnprotectedServerError(UNPROTECTED)


def _greet_any(connection: Any) -> None:
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
    """Return the server's HELLO; nothing where a proxy does not know the command.

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


def probe(
    url: str,
    *,
    what: str = "Redis",
    setting: str = "FLOWCORE_REDIS_URL",
    unprotected: bool = False,
) -> None:
    """Connect once and ask once: says within seconds what is wrong with an address.

    Args:
        url: As for ``connect``.
        unprotected: Likewise.
        what: How an error names the server.
        setting: The variable that an error names.

    Raises:
        StoreUnreachableError: Nobody answers there, or something that is no Redis.
        StoreRefusedError: It does not let us in.
        UnprotectedServerError: It is on another machine, and wants no password.
        WrongServerError: It is a Cluster or a Sentinel.
    """
    options: dict[str, Any] = {
        "socket_timeout": PROBE_TIMEOUT,
        "socket_connect_timeout": PROBE_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "redis_connect_func": _greet_any if unprotected else _greet,
    }
    client = _open(url, options)
    try:
        with translated(what=what, setting=setting), client:
            client.ping()
            if not unprotected:
                refuse_unprotected(client)
    except StoreUnreachableError as error:
        if isinstance(error.__cause__, RedisTimeoutError):
            msg = (
                f"{what} does not answer within {PROBE_TIMEOUT:g} s ({error.__cause__}): is the "
                f"address in {setting} right"
                + (", and does that server speak TLS (rediss://)?" if _is_tls(url) else "?")
            )
            raise StoreUnreachableError(msg) from error.__cause__
        raise


def ping(client: Client, *, name: str) -> None:
    """Ask a server for a sign of life, on a connection of its own, once and for a few seconds.

    Args:
        client: Connects to it.
        name: How an error names it.

    Raises:
        StoreUnreachableError: There is none.
    """
    pool = client.connection_pool
    short = {
        "socket_timeout": PROBE_TIMEOUT,
        "socket_connect_timeout": PROBE_TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
    }
    connection = pool.connection_class(**{**pool.connection_kwargs, **short})
    try:
        with translated(what=name):
            connection.connect()
            connection.send_command("PING", check_health=False)
            connection.read_response()
    finally:
        connection.disconnect()


def is_full(error: BaseException) -> bool:
    """Say whether a server refused to write for want of memory or disk."""
    # A script that passes such an error on leaves its words only.
    return isinstance(error, OutOfMemoryError) or str(error).startswith(("OOM ", "MISCONF"))


def refusal_of(error: BaseException) -> str:
    """Return a server's own words, without the place in a script that they end with."""
    return str(error).partition(" script: ")[0].rstrip(".")


@contextmanager
def translated(*, what: str = "Redis", setting: str = "FLOWCORE_REDIS_URL") -> Iterator[None]:
    """Turn the client library's errors into flowcore's own.

    Args:
        what: How an error names the server.
        setting: The variable that an error names.
    """
    try:
        yield
    except REFUSALS as error:
        # Without a password the answer is about the protocol's first command.
        why = "it wants a password" if "already authenticated" in str(error) else error
        msg = f"{what} refuses the login: {why}; correct user and password in {setting}"
        if isinstance(error, NoPermissionError):
            msg = f"{what} forbids what flowcore needs: {error}; see its ACL for that user"
        raise StoreRefusedError(msg) from error
    except PoolExhaustedError as error:
        msg = f"{error}: start fewer calls at once; {what} itself may answer"
        raise StoreUnreachableError(msg) from error
    except (RedisConnectionError, RedisTimeoutError, InvalidResponse, OSError) as error:
        msg = f"cannot reach {what}: {error}; check {setting} or run 'flowcore doctor'"
        raise StoreUnreachableError(msg) from error
    except RedisError as error:
        if is_full(error):
            msg = f"{what} refuses to write: {refusal_of(error)}; {MAKE_ROOM}"
            raise StoreFullError(msg) from error
        if str(error).startswith("NOREPLICAS"):
            # min-replicas-to-write: it may take writes again soon, as after any other trouble.
            msg = f"{what} takes no writes now: {error}; are its replicas up?"
            raise StoreUnreachableError(msg) from error
        msg = f"{what} refused: {error}; run 'flowcore doctor'"
        raise ServiceError(msg) from error


def _is_tls(url: str) -> bool:
    return url.startswith("rediss:")
