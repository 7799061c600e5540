"""URLs of servers, as settings name them.

In: text. Out: the same, if it is the URL of a server that flowcore can use; else what is accepted.
Not here: what is reached there (stores.redis.connection.connect, celery.kombu.brokers).
"""

import re
from urllib.parse import parse_qsl, urlsplit

from flowcore.nodes.credentials import mask_text
from flowcore.stores.redis.connection.placement import server_name
from flowcore.stores.redis.connection.sentinel import SCHEMES as SENTINEL_SCHEMES
from flowcore.stores.redis.connection.sentinel import SentinelAddress, is_sentinel

__all__ = ["REDIS_SCHEMES", "broker_url", "is_url", "redacted", "redis_urls", "split_urls"]

#: What a URL of a server that can hold runs begins with.
REDIS_SCHEMES = ("redis", "rediss", "unix", *SENTINEL_SCHEMES)
_BROKER_SCHEMES = (*REDIS_SCHEMES, "redis+socket", "amqp", "amqps", "pyamqp")
_SOCKET_SCHEMES = ("unix", "redis+socket")

_AMQP = ("amqp://", "amqps://", "pyamqp://")

#: What a URL may say after its question mark.
_OPTIONS = {
    "rediss": frozenset({"ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}),
    "unix": frozenset({"db"}),
    "redis+socket": frozenset({"virtual_host"}),
}
_CERT_REQS = ("required", "optional", "none")

#: How a URL begins, with what people forget of it.
_BEGIN = re.compile(r"[a-z0-9+]+:/{1,2}", re.IGNORECASE)
_LIKE_URL = re.compile(r"@|:/|//|\?")
#: A host, or several, with ports and what may follow them: no password is hidden in these.
_HOST = r"(?:[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,6})?"
_PLAIN = re.compile(rf"(?:{_HOST}(?:,{_HOST})*)?(?:/+[A-Za-z0-9_.-]{{0,40}}){{0,3}}")
_SERVERS = frozenset((*_BROKER_SCHEMES, "http", "https")) - frozenset(_SOCKET_SCHEMES)
_HIDDEN = "***"


def split_urls(text: str) -> list[str]:
    """Split a list of URLs; a comma within one of them stays."""
    return [url.strip() for url in re.split(r",(?=\s*[a-z+]+://|\s*$)", text) if url.strip()]


def redacted(value: str) -> str:
    """Hide what may be a password in a setting, however badly its URL is written.

    Of a URL the scheme is shown, and what can be nothing but a host, a port, a number or a path.
    """
    if _LIKE_URL.search(value) is None:
        return mask_text(value)
    if "@" not in value and len(urls := split_urls(value)) > 1:
        return ",".join(map(redacted, urls))
    before, at, after = value.rpartition("@")
    scheme = _BEGIN.match(value)
    rest = after if at or scheme is None else after[scheme.end() :]
    hidden = f"{_HIDDEN}@" if at else ""
    place, sign, query = rest.partition("?")
    is_plain = _PLAIN.fullmatch(place) or (not before and _is_path(scheme, place))
    options = re.sub(r"=[^&;]*", f"={_HIDDEN}", query) if "=" in query else ""
    shown = mask_text(place) if is_plain else _HIDDEN
    return f"{scheme[0] if scheme else ''}{hidden}{shown}" + (
        f"?{options or _HIDDEN}" if sign else ""
    )


def _is_path(scheme: "re.Match[str] | None", place: str) -> bool:
    """Return whether this is the path of a socket or a file, or a bucket, which are no secrets."""
    named = scheme[0].rstrip(":/").lower() if scheme else ""
    return named not in _SERVERS and ":" not in place


def is_url(value: str) -> bool:
    """Return whether a text can be taken apart as a URL."""
    try:
        _ = urlsplit(value).port  # raises upon one that no host has
    except ValueError:
        return False
    return True


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
    _check_options(url)
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
    url = _url(value, _BROKER_SCHEMES)
    if not is_sentinel(url) and not url.startswith(_AMQP):
        _check_options(url)
    return url


def _check_options(url: str) -> None:
    """Refuse what one of the libraries that read the URL would drop, double or stumble over.

    redis-py reads it for runs, kombu for messages and Celery for results: each knows others.
    """
    parts = urlsplit(url)
    known = _OPTIONS.get(parts.scheme, frozenset())
    if parts.fragment:
        raise ValueError("no '#'; in a password it is written %23")
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in {"db", "virtual_host"} and parts.scheme not in _SOCKET_SCHEMES:
            raise ValueError("a database's number after the host, as in redis://localhost:6379/0")
        if name in {"username", "password"}:
            raise ValueError("user and password before the host, as in redis://user:password@host")
        if name not in known:
            there = ", ".join(sorted(known)) or "none"
            raise ValueError(f"no option {name!r}; with {parts.scheme}:// there is {there}")
        if name == "db" and not (value.isascii() and value.isdecimal()):
            raise ValueError("a database's number, as in unix:///run/redis.sock?db=0")
        if name == "ssl_cert_reqs" and value not in _CERT_REQS:
            raise ValueError("ssl_cert_reqs=" + ", ".join(_CERT_REQS))
