"""Which hosts nodes may reach."""

import ipaddress
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


@pytest.mark.parametrize("inner", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "224.0.0.1"])
@pytest.mark.parametrize("form", ["64:ff9b::{:x}:{:x}", "2002:{:x}:{:x}::1", "::{:x}:{:x}"])
def test_an_address_of_ipv6_that_stands_for_one_of_ipv4_is_judged_by_that(
    form: str, inner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    host = form.format(*divmod(int(ipaddress.IPv4Address(inner)), 0x10000))
    with pytest.raises(UsageError, match="not a public address"):
        reachable(host, 80)
    monkeypatch.setenv(SETTING, inner)
    assert ipaddress.ip_address(reachable(host, 80)) == ipaddress.ip_address(host)


def test_an_address_that_a_site_translates_as_it_likes_is_not_public(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    with pytest.raises(UsageError, match="not a public address"):
        reachable("64:ff9b:1::a00:1", 80)
    monkeypatch.setenv(SETTING, "64:ff9b:1::/48")
    assert reachable("64:ff9b:1::a00:1", 80) == "64:ff9b:1::a00:1"


@pytest.mark.parametrize(
    "host",
    ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"],
)
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
