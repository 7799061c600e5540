"""URLs of servers, as settings name them.

In: text. Out: the same, if it is the URL of a server that flowcore can use; else what is accepted.
Not here: what is reached there (stores.redis.connect, backends.native.broker).
"""

import re
from urllib.parse import urlsplit

from flowcore.nodes.credentials import mask_text
from flowcore.stores.redis.placing import server_name
from flowcore.stores.redis.sentinel import SCHEMES as SENTINEL_SCHEMES
from flowcore.stores.redis.sentinel import SentinelAddress, is_sentinel

__all__ = ["REDIS_SCHEMES", "broker_url", "redacted", "redis_urls", "split_urls"]

#: What a URL of a server that can hold runs begins with.
REDIS_SCHEMES = ("redis", "rediss", "unix", *SENTINEL_SCHEMES)
_BROKER_SCHEMES = (*REDIS_SCHEMES, "redis+socket", "amqp", "amqps", "pyamqp")
_SOCKET_SCHEMES = ("unix", "redis+socket")

#: How a URL begins, with what people forget of it.
_BEGIN = re.compile(r"[a-z0-9+]+:/{1,2}", re.IGNORECASE)


def split_urls(text: str) -> list[str]:
    """Split a list of URLs; a comma within one of them stays."""
    return [url.strip() for url in re.split(r",(?=\s*[a-z+]+://|\s*$)", text) if url.strip()]


def redacted(value: str) -> str:
    """Hide what may be a password in a setting, however badly its URL is written."""
    before, at, after = value.rpartition("@")
    scheme = _BEGIN.match(before)
    shown = f"{scheme[0] if scheme else ''}***@{after}" if at else value
    return mask_text(shown)


def _url(value: str, schemes: tuple[str, ...]) -> str:
    accepted = "a URL starting with " + ", ".join(f"{scheme}://" for scheme in schemes)
    if is_sentinel(value):
        SentinelAddress.parse(value)
        return value
    try:
        parts = urlsplit(value)
        place = parts.path if parts.scheme in _SOCKET_SCHEMES else parts.hostname
        _ = parts.port  # raises upon one that no host has
    except ValueError:
        raise ValueError(accepted) from None
    if parts.scheme not in schemes:
        raise ValueError(accepted)
    if not place:
        what = "a socket's path" if parts.scheme in _SOCKET_SCHEMES else "a host name"
        raise ValueError(f"{what} after {parts.scheme}://")
    return value


def redis_urls(value: str) -> str | None:
    """Read the URLs of the servers that share the runs; ``ValueError`` says what is accepted."""
    urls = [_redis_url(url) for url in split_urls(value)]
    if len(set(map(server_name, urls))) < len(urls):
        raise ValueError("each server once")
    return ",".join(urls)


def _redis_url(value: str) -> str:
    url = _url(value, REDIS_SCHEMES)
    if is_sentinel(url):
        return url
    parts = urlsplit(url)
    if "," in (parts.hostname or ""):
        raise ValueError(
            "URLs separated by commas, each starting with redis://, rediss://, unix://"
        )
    # redis-py would use database 0 without a word.
    if parts.scheme not in _SOCKET_SCHEMES and not re.fullmatch(r"/?[0-9]*", parts.path):
        raise ValueError("a database's number after the host, as in redis://localhost:6379/0")
    return url


def broker_url(value: str) -> str | None:
    """Read the URL of a broker; ``ValueError`` says what is accepted."""
    return _url(value, _BROKER_SCHEMES)
