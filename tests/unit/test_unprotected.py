"""Which connections count as those of a server that lets everybody in."""

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from flowcore.stores.redis.connection.protection import is_unprotected


def _connection(peer: Any, **more: Any) -> Any:
    def getpeername() -> Any:
        if isinstance(peer, Exception):
            raise peer
        return peer

    return SimpleNamespace(_sock=SimpleNamespace(getpeername=getpeername), **more)


@pytest.mark.parametrize(
    "peer",
    [
        ("192.0.2.2", 6379),
        ("10.0.0.5", 6379),
        ("172.18.0.2", 6379),
        ("fd00::2", 6379, 0, 0),
        ("fe80::1%eth0", 6379, 0, 2),
        ("::ffff:192.0.2.2", 6379, 0, 0),
        ("0.0.0.0", 6379),
    ],
)
def test_an_address_of_another_machine_needs_a_password(peer: Any) -> None:
    assert is_unprotected(_connection(peer))
    assert is_unprotected(_connection(peer, password=None, credential_provider=None))
    assert is_unprotected(_connection(peer, password=""))
    assert not is_unprotected(_connection(peer, password="given"))
    assert not is_unprotected(_connection(peer, credential_provider=object()))
    assert not is_unprotected(_connection(peer, certfile="/client.pem"))


@pytest.mark.parametrize(
    "peer",
    [
        ("127.0.0.1", 6379),
        ("127.0.1.1", 6379),
        ("::1", 6379, 0, 0),
        ("::ffff:127.0.0.1", 6379, 0, 0),
        "/run/valkey.sock",
        "",
        OSError("not connected"),
    ],
)
def test_this_machine_does_not(peer: Any) -> None:
    assert not is_unprotected(_connection(peer))


def test_a_connection_of_a_real_socket_is_judged_by_its_peer() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert not is_unprotected(SimpleNamespace(_sock=client))
