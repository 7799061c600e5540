"""Detection of a Redis that lets everybody in.

In: a connection. Out: a word, or an error. Not here: who is told so, and may allow it (connect).

A server on this machine's own loopback, or behind a socket in the file system, is taken to be
protected by this machine.
"""

import ipaddress
from typing import Any

from redis.exceptions import RedisError

from flowcore.errors import UnprotectedServerError

__all__ = ["UNPROTECTED", "is_unprotected", "refuse_unprotected"]

UNPROTECTED = (
    "this Redis is on another machine and lets everybody in who can reach it; give it a password "
    "(redis://:PASSWORD@HOST) or client certificates, or say FLOWCORE_UNPROTECTED_REDIS=on"
)


def is_unprotected(connection: Any) -> bool:
    """Return whether a connection needed no credentials, and leads to another machine.

    It costs nothing: each connection is asked. One that was made with a password may lead to a
    server that takes any (``refuse_unprotected``).
    """
    return not _has(connection, "password", "credential_provider") and _is_elsewhere(connection)


def refuse_unprotected(client: Any) -> None:
    """Refuse a server that lets us in without the password as well; asked once in a process.

    Raises:
        UnprotectedServerError: It does, and is on another machine.
    """
    connection = client.connection_pool.get_connection()
    try:
        if _is_elsewhere(connection) and _lets_in_anybody(connection):
            raise UnprotectedServerError(UNPROTECTED)
    finally:
        connection.disconnect()
        client.connection_pool.release(connection)


def _has(connection: Any, *proofs: str) -> bool:
    return any(getattr(connection, proof, None) for proof in proofs)


def _is_elsewhere(connection: Any) -> bool:
    """Return whether a connection leads to another machine without client certificates."""
    if _has(connection, "certfile"):
        return False
    try:
        peer = connection._sock.getpeername()  # noqa: SLF001  (redis-py has no other way to ask)
        address = ipaddress.ip_address(peer[0].partition("%")[0])
    except (AttributeError, IndexError, OSError, TypeError, ValueError):
        return False  # no connection of the internet: a socket in the file system
    mapped = getattr(address, "ipv4_mapped", None)
    return not (mapped or address).is_loopback


def _lets_in_anybody(connection: Any) -> bool:
    """Return whether a server accepts a client that gives no password."""
    try:
        for command in ("RESET", "PING"):
            connection.send_command(command, check_health=False)
            connection.read_response()
    except RedisError:
        return False
    return True
