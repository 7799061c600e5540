"""Connections to Redis or Valkey, with every timeout and retry set on purpose.

In: a URL. Out: clients. Not here: what is said to them.
"""

from collections.abc import Callable, Iterator
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
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from flowcore.errors import (
    ServiceError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
)

__all__ = [
    "MAKE_ROOM",
    "PROBE_TIMEOUT",
    "REFUSALS",
    "RETRIES",
    "Client",
    "connect",
    "is_full",
    "probe",
    "translated",
]

#: redis-py types each answer as ``bytes | str``; with decoding off, as here, they are bytes.
Client: TypeAlias = Any

#: A frozen server must not freeze its clients for ever, nor a slow script look like one.
ANSWER_TIMEOUT = 15.0
CONNECT_TIMEOUT = 5.0
RETRIES = 4

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

    def call_with_retry(
        self,
        do: Callable[[], Any],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,  # noqa: FBT001, FBT002  (redis-py's signature)
    ) -> Any:
        def worth_it(error: Exception) -> bool:
            return not isinstance(error, REFUSALS) and (is_retryable is None or is_retryable(error))

        return super().call_with_retry(do, fail, worth_it, with_failure_count)


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
        retry=_Retry(ExponentialBackoff(cap=0.5, base=0.05), RETRIES),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        health_check_interval=0 if blocking else 30,
    )


def probe(url: str, *, what: str = "Redis", setting: str = "FLOWCORE_REDIS_URL") -> None:
    """Connect once and ask once: says within seconds what is wrong with an address.

    Args:
        url: As for ``connect``.
        what: How an error names the server.
        setting: The variable that an error names.

    Raises:
        StoreUnreachableError: Nobody answers there, or something that is no Redis.
        StoreRefusedError: It does not let us in.
    """
    client = redis.Redis.from_url(
        url,
        socket_timeout=PROBE_TIMEOUT,
        socket_connect_timeout=PROBE_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        with translated(what=what, setting=setting), client:
            client.ping()
    except StoreUnreachableError as error:
        if isinstance(error.__cause__, RedisTimeoutError):
            msg = (
                f"{what} does not answer within {PROBE_TIMEOUT:g} s ({error.__cause__}): is the "
                f"address in {setting} right"
                + (", and does that server speak TLS (rediss://)?" if _is_tls(url) else "?")
            )
            raise StoreUnreachableError(msg) from error.__cause__
        raise


def is_full(error: BaseException) -> bool:
    """Say whether a server refused to write for want of memory or disk."""
    return isinstance(error, OutOfMemoryError) or str(error).startswith("MISCONF")


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
        msg = f"{what} does not let us in: {why}; correct user and password in {setting}"
        if isinstance(error, NoPermissionError):
            msg = f"{what} forbids what flowcore needs: {error}; see its ACL for that user"
        raise StoreRefusedError(msg) from error
    except (RedisConnectionError, RedisTimeoutError, InvalidResponse, OSError) as error:
        msg = f"cannot reach {what}: {error}; check {setting} or run 'flowcore doctor'"
        raise StoreUnreachableError(msg) from error
    except RedisError as error:
        if is_full(error):
            msg = f"{what} refuses to write: {refusal_of(error)}; {MAKE_ROOM}"
            raise StoreFullError(msg) from error
        msg = f"{what} refused: {error}; run 'flowcore doctor'"
        raise ServiceError(msg) from error


def _is_tls(url: str) -> bool:
    return url.startswith("rediss:")
