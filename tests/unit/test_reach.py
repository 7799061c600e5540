"""Which hosts nodes may reach."""

import socket

import pytest

from flowcore.errors import UsageError
from flowcore.nodes.egress import SETTING, reachable


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "10.1.2.3", "192.168.0.1", "172.16.9.9", "169.254.169.254"),
        *("0.0.0.0", "::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "100.64.0.1", "224.0.0.1"),
    ],
)
def test_what_is_not_public_is_refused_with_the_way_out(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    with pytest.raises(UsageError, match=f"not a public address; .* {SETTING}={host}"):
        reachable(host, 80)


@pytest.mark.parametrize("host", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"])
def test_a_public_address_may_be_reached(host: str) -> None:
    assert reachable(host, 80) == host


@pytest.mark.parametrize("allowed", ["127.0.0.1", "127.0.0.0/8", "elsewhere, 127.0.0.1"])
def test_what_the_worker_allows_may_be_reached(
    allowed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SETTING, allowed)
    assert reachable("127.0.0.1", 80) == "127.0.0.1"
    with pytest.raises(UsageError):
        reachable("10.0.0.1", 80)


def test_a_name_one_of_whose_addresses_is_not_public_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lookup(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", ("93.184.216.34", 80)), (0, 0, 0, "", ("127.0.0.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(UsageError, match=r"'rebind\.test' is 127\.0\.0\.1"):
        reachable("rebind.test", 80)
