"""The address of a primary that Sentinels know, in one URL.

In: ``sentinel://[user:password@]host[:port][,host[:port]…]/NAME[/DB]``. Out: its parts. Not here:
connecting (connect).

Neither redis-py nor Redis has a spelling of its own; this is the one of ``redis-sentinel-url`` and
``limits``, and ``redis+sentinel://`` is accepted for it too. User and password are the primary's.
Those of the Sentinels themselves, should they have any, are ``?sentinel_username=`` and
``?sentinel_password=``.
"""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["SCHEMES", "SentinelAddress", "is_sentinel"]

SCHEMES = ("sentinel", "redis+sentinel")

_PORT = 26379
_SHAPE = "sentinel://host:26379,host:26379/name-of-the-primary/0"
_QUERY = frozenset({"sentinel_username", "sentinel_password"})
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%]+\]|[^\s:\[\]]+)(:(?P<port>[0-9]{1,5}))?")


def is_sentinel(url: str) -> bool:
    """Return whether a URL names Sentinels."""
    return url.partition("://")[0] in SCHEMES


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelAddress:
    """Addresses of the Sentinels that name a primary, and credentials for both."""

    hosts: tuple[tuple[str, int], ...]
    """The Sentinels, in the order in which they are asked."""
    name: str
    """What the Sentinels call the primary, such as ``mymaster``."""
    db: int = 0
    username: str | None = None
    password: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL.

        Raises:
            ValueError: The phrase that says what is accepted.
        """
        # urlsplit() cannot read several hosts with ports, but it can tell the parts apart.
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            raise ValueError(f"a URL such as {_SHAPE}")
        userinfo, _, places = parts.netloc.rpartition("@")
        username, _, password = userinfo.partition(":")
        name, _, db = parts.path.strip("/").partition("/")
        if not name:
            raise ValueError(f"the name of the primary after the hosts, as in {_SHAPE}")
        if db and not (db.isascii() and db.isdecimal()):
            raise ValueError(f"a database's number after the name, as in {_SHAPE}")
        query = dict(parse_qsl(parts.query))
        if unknown := sorted(query.keys() - _QUERY):
            raise ValueError(f"no option {unknown[0]!r}; there are " + ", ".join(sorted(_QUERY)))
        return cls(
            hosts=tuple(_host(place) for place in places.split(",")),
            name=unquote(name),
            db=int(db or 0),
            username=unquote(username) or None,
            password=unquote(password) or None,
            sentinel_username=query.get("sentinel_username"),
            sentinel_password=query.get("sentinel_password"),
        )

    @property
    def login(self) -> dict[str, str]:
        """Credentials for the primary, as redis-py's keywords."""
        return _login(self.username, self.password)

    @property
    def sentinel_login(self) -> dict[str, str]:
        """Credentials for the Sentinels, as redis-py's keywords."""
        return _login(self.sentinel_username, self.sentinel_password)


def _host(place: str) -> tuple[str, int]:
    found = _HOST.fullmatch(place.strip())
    port = int(found["port"] or _PORT) if found else 0
    if found is None or not 0 < port <= 65535:  # noqa: PLR2004  (the largest port)
        raise ValueError(f"hosts separated by commas, as in {_SHAPE}")
    return found["host"].strip("[]"), port


def _login(username: str | None, password: str | None) -> dict[str, str]:
    given = {"username": username, "password": password}
    return {name: value for name, value in given.items() if value is not None}
