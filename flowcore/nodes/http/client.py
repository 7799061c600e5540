"""The client of nodes that speak HTTP: what it reaches, how long it waits, what its errors say.

In: how long to wait, and whether addresses are guarded. Out: a client, and errors that name the
address. Not here: what may be reached (egress), requests and their answers (types.http, types.llm).
"""

import importlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Self

from flowcore.errors import FlowcoreError, NodeCancelledError, UsageError
from flowcore.nodes.credentials import mask_text
from flowcore.nodes.egress import reachable
from flowcore.nodes.http.content_encoding import ACCEPTED

__all__ = ["Deadline", "client_of", "named", "redirected", "shown_url"]

#: Headers that go on to another host; all others are for the host that the definition names.
_FOR_ANYBODY = frozenset(
    {"accept", "accept-charset", "accept-encoding", "accept-language", "cache-control",
     "connection", "content-encoding", "content-language", "content-length", "content-type",
     "host", "if-modified-since", "if-none-match", "pragma", "range", "transfer-encoding",
     "user-agent"}
)  # fmt: skip


_PORTS = {"http": 80, "https": 443}


class Deadline:
    """A time by which something has to have come.

    Each wait of a client may be short, and all of them together endless: a server can send a byte
    now and then.
    """

    def __init__(self, seconds: float) -> None:
        """Begin now."""
        self._seconds = seconds
        self._ends = time.monotonic() + seconds

    def again(self) -> None:
        """Begin anew: something has come."""
        self._ends = time.monotonic() + self._seconds

    def lift(self) -> None:
        """Wait for ever."""
        self._ends = math.inf

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._ends - time.monotonic()


class _Connection:
    """A connection, as the client sees it, whose waits end at the deadline."""

    def __init__(self, inner: Any, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = self._deadline.left
        if left <= 0:
            core = importlib.import_module("httpcore2")
            raise core.ReadTimeout("timed out")
        wait = min(math.inf if timeout is None else timeout, left)
        got: bytes = self._inner.read(max_bytes, None if wait == math.inf else wait)
        return got

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, *args: Any, **kwargs: Any) -> "_Connection":
        return _Connection(self._inner.start_tls(*args, **kwargs), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Network:
    """Makes such connections."""

    def __init__(self, inner: Any, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def connect_tcp(self, *args: Any, **kwargs: Any) -> _Connection:
        return _Connection(self._inner.connect_tcp(*args, **kwargs), self._deadline)


class _Guarded:
    """A transport that connects to the very address that was looked at."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def handle_request(self, request: Any) -> Any:
        host = request.url.host
        port = request.url.port or _PORTS.get(request.url.scheme, 443)
        address = reachable(host, port)
        request.headers.setdefault("Host", request.url.netloc.decode("ascii"))
        request.extensions = {**request.extensions, "sni_hostname": host}
        url, request.url = request.url, request.url.copy_with(host=address)
        try:
            return self._inner.handle_request(request)
        finally:
            request.url = url  # redirects are relative to it

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(self, *given: object) -> None:
        self._inner.__exit__(*given)


def client_of(
    *, timeout: float, deadline: Deadline, guarded: bool = True, extra: str = "http"
) -> Any:
    """Make a client that follows no redirects, decodes nothing, and ends at a deadline.

    Args:
        timeout: Seconds of each wait.
        deadline: When the headers of an answer have to be there.
        guarded: Reach nothing that nodes should not, and use no proxy of the environment.
        extra: The extra of flowcore that has the client.

    Raises:
        UsageError: ``httpx2`` is not installed.
    """
    try:
        httpx = importlib.import_module("httpx2")
    except ImportError as error:
        raise UsageError(f"this node needs httpx2: pip install 'flowcore[{extra}]'") from error
    logging.getLogger("httpx2").addFilter(_WITHOUT_CREDENTIALS)  # adds it once
    tls = _tls(*map(os.environ.get, _OWN_CAS))
    about = {"timeout": timeout, "headers": {"Accept-Encoding": ACCEPTED}}
    if guarded:
        transport = httpx.HTTPTransport(verify=tls, retries=0)
        client = httpx.Client(transport=_Guarded(transport), trust_env=False, **about)
    else:
        client = httpx.Client(verify=tls, **about)
        transport = client._transport  # noqa: SLF001
    pool = transport._pool  # noqa: SLF001  (a transport cannot be given a network of its own)
    pool._network_backend = _Network(pool._network_backend, deadline)  # noqa: SLF001
    return client


#: Variables that name certificates of authorities beside those of the system.
_OWN_CAS = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@lru_cache(maxsize=4)
def _tls(*_: str | None) -> Any:
    """Return the requirements on every server's certificate; reading the authorities takes time."""
    return importlib.import_module("httpx2").create_ssl_context()


def redirected(response: Any, request: Any) -> Any:
    """Make the next request of a redirect; another host gets nothing that was not for it.

    Args:
        response: The redirect.
        request: What it answers.

    Raises:
        UsageError: It leads to what is no address of the web.
    """
    following = response.next_request
    if following.url.scheme not in ("http", "https"):
        raise UsageError(f"it redirects to {shown_url(following.url)}, which is not a web address")
    if not _is_same_place(request.url, following.url):
        for name in list(following.headers):
            if name.lower() not in _FOR_ANYBODY:
                del following.headers[name]
    elif "cookie" in request.headers:
        # The client keeps those that servers set, and drops those that it was given.
        following.headers.setdefault("Cookie", request.headers["cookie"])
    return following


def _is_same_place(one: Any, other: Any) -> bool:
    """Return whether two addresses are of one server; a step from http to https stays there."""
    if one.host != other.host:
        return False
    ports = tuple(url.port or _PORTS.get(url.scheme) for url in (one, other))
    if one.scheme == other.scheme:
        return ports[0] == ports[1]
    return (one.scheme, other.scheme) == ("http", "https") and ports == (80, 443)


def shown_url(url: object) -> str:
    """An address as a sentence shows it: without its query, and without credentials."""
    plain = str(url)
    return mask_text(plain.partition("?")[0].partition("#")[0])


@contextmanager
def named(place: Callable[[], str]) -> Iterator[None]:
    """Put the address before whatever goes wrong in here.

    Args:
        place: Gives the address, as a sentence shows it.

    Raises:
        UsageError: The request cannot be made as it is written.
    """
    try:
        yield
    except NodeCancelledError:
        raise
    except Exception as error:
        is_of_client = type(error).__module__.partition(".")[0] in ("httpx2", "httpcore2")
        if not (is_of_client or isinstance(error, FlowcoreError | OSError)):
            raise  # of whoever called the client
        said = _said(error)
        if is_of_client and type(error).__name__ in _AS_WRITTEN:
            raise UsageError(f"{place()}: the request cannot be made: {said}") from error
        _say(error, said if said.startswith(place()) else f"{place()}: {said}")
        raise


#: The client's errors about a request itself.
_AS_WRITTEN = frozenset({"InvalidURL", "UnsupportedProtocol", "LocalProtocolError"})


def _said(error: Exception) -> str:
    name = type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if name.endswith("Timeout") and not isinstance(error, FlowcoreError):
        return f"no answer within 'timeout' ({name})"
    return str(error) or name


def _say(error: Exception, message: str) -> None:
    """Give an exception other words, and keep its class, which ``retry_on`` may name."""
    if isinstance(error, OSError) and error.errno is not None:
        error.strerror = message
        error.args = (error.errno, message)
    else:
        error.args = (message,)


class _WithoutCredentials(logging.Filter):
    """Masks what looks like a credential in the URLs that the client logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        record.msg, record.args = mask_text(said), ()
        return True


_WITHOUT_CREDENTIALS = _WithoutCredentials()
