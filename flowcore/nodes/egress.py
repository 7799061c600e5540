"""Addresses that nodes of a definition may reach over the network.

In: a host. Out: the address to connect to, or a refusal. Not here: requests (types.http,
types.llm).

A definition may come from somebody who should not reach what only this machine can. So hosts whose
addresses are not public are refused unless the worker's FLOWCORE_HTTP_ALLOW names them, and the
address that was looked at is the one that is connected to: a name that changes its mind in between
leads nowhere else.
"""

import ipaddress
import os
import socket
from collections.abc import Sequence

from flowcore.errors import UsageError

__all__ = ["SETTING", "allowed_hosts", "reachable"]

SETTING = "FLOWCORE_HTTP_ALLOW"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: What NAT64 translates to IPv4 (RFC 6052), and what a site may translate as it likes (RFC 8215).
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_TRANSLATION = ipaddress.IPv6Network("64:ff9b:1::/48")
#: "IPv4-compatible" addresses, given up by RFC 4291.
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def allowed_hosts() -> tuple[str, ...]:
    """The hosts and networks that this worker's nodes may reach, though they are not public."""
    return tuple(word.strip() for word in os.environ.get(SETTING, "").split(",") if word.strip())


def reachable(host: str, port: int) -> str:
    """Return the address of a host that may be reached.

    Args:
        host: A name or an address.
        port: For looking it up.

    Raises:
        UsageError: It is not to be reached from here.
        OSError: The name is unknown.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise UsageError(f"{host[:100]!r} cannot be the name of a host") from None
    except socket.gaierror as error:
        said = f"the address of {host!r} cannot be found: {error.strerror}"
        raise socket.gaierror(error.errno, said) from None
    addresses = [str(one[4][0]) for one in found]
    allowed = allowed_hosts()
    if host.lower() in {name.lower() for name in allowed}:
        return addresses[0]
    for address in addresses:
        if not _is_public(ipaddress.ip_address(address.partition("%")[0]), allowed):
            msg = (
                f"{host!r} is {address}, which is not a public address; if nodes are to reach it, "
                f"name it in {SETTING} of the worker, such as {SETTING}={host}"
            )
            raise UsageError(msg)
    return addresses[0]


def _is_public(address: Address, allowed: Sequence[str]) -> bool:
    reached = _translated(address)
    if reached.is_global and not reached.is_multicast and reached not in _LOCAL_TRANSLATION:
        return True
    return any(_is_in(one, network) for one in (reached, address) for network in allowed)


def _translated(address: Address) -> Address:
    """The IPv4 address that a gateway, or the kernel, makes of one of IPv6; else the same one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is not None:
        return inner
    if address in _TRANSLATED or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_in(address: Address, network: str) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False  # a name
