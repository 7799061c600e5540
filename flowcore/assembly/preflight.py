"""Are the services there? Asked once and quickly, before anything is started.

In: addresses. Out: nothing, or an error that says what is wrong with one of them. Not here: what
happens when a service goes away later (each adapter tries again for a while).

Without this the adapters' own patience would come first: tries and pauses that add up to much
longer than a person waits, or, where a server accepts a connection and says nothing, to for ever.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from celery import Celery

from flowcore.errors import (
    BrokerUnreachableError,
    ServiceError,
    StoreUnreachableError,
    UnprotectedServerError,
    WrongServerError,
)
from flowcore.stores.redis.connection.connect import PROBE_TIMEOUT, probe

__all__ = ["check_broker", "check_stores"]

_REDIS = ("redis", "rediss", "unix", "redis+socket", "sentinel", "redis+sentinel")
_SETTING = "FLOWCORE_BROKER_URL"


def check_stores(urls: Sequence[str], *, unprotected: bool = False) -> None:
    """Ask the servers that hold runs once. One that does not answer keeps nobody from the others.

    Args:
        urls: Their addresses.
        unprotected: Whether one on another machine may do without a password.

    Raises:
        UnprotectedServerError: One of them does, and may not.
        StoreUnreachableError: None of them answers.
        StoreRefusedError: One does not let us in.
    """
    silent: list[StoreUnreachableError] = []
    for url in urls:
        try:
            probe(url, unprotected=unprotected)
        except StoreUnreachableError as error:
            silent.append(error)
    if len(silent) == len(urls):
        raise silent[0]


def check_broker(app: Celery, url: str, *, unprotected: bool = False) -> None:
    """Ask the broker once.

    Args:
        app: Knows how to connect to it.
        url: Its address, as in the settings.
        unprotected: Whether a Redis on another machine may do without a password.

    Raises:
        BrokerUnreachableError: It does not answer, or does not let us in.
        UnprotectedServerError: It is a Redis that lets everybody in.
        WrongServerError: It is a Redis Cluster or a Sentinel.
    """
    if urlsplit(url).scheme in _REDIS:
        address = url.removeprefix("redis+socket://")
        try:
            probe(
                url if address == url else f"unix://{address}",
                what="the broker",
                setting=_SETTING,
                unprotected=unprotected,
            )
        except (UnprotectedServerError, WrongServerError):
            raise
        except ServiceError as error:
            raise BrokerUnreachableError(str(error)) from error
        return
    connection: Any = app.connection_for_write()
    connection.connect_timeout = PROBE_TIMEOUT
    try:
        # Kombu's own ways to connect try more than once.
        transport = connection.transport
        transport.close_connection(transport.establish_connection())
    except Exception as error:
        why = str(error) or type(error).__name__
        msg = f"cannot reach the broker: {why}; check {_SETTING} or run 'flowcore doctor'"
        raise BrokerUnreachableError(msg) from error
