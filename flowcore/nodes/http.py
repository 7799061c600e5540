"""The node type ``http``: one request.

In: the node's ``with``. Out: status, headers and body. Not here: which hosts may be reached
(reach), how often it is tried (the node's ``retry``).
"""

import importlib
import json
import logging
import time
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from flowcore.errors import HttpStatusError, NodeCancelledError, PayloadTooLargeError, UsageError
from flowcore.json_text import strict_json
from flowcore.nodes.context import Context
from flowcore.nodes.credentials import mask_text
from flowcore.nodes.reach import reachable
from flowcore.nodes.types.calls import HttpArguments

__all__ = ["guarded_client", "http"]


def http(ctx: Context, **more: Any) -> dict[str, Any]:
    """Send one HTTP request; give on ``{"status", "url", "headers", "body"}``.

    The body is the value of a JSON answer, text, or bytes. Needs ``flowcore[http]``.

    Args:
        ctx: The attempt.
        **more: ``url``; ``method`` (GET); ``headers``; ``params``, of the query; ``json`` or
            ``body``, what is sent; ``timeout`` (30s); ``max_bytes`` of the answer (10 MiB);
            ``redirects`` to follow (5); ``accept``, statuses that are no failure (200 to 299);
            ``retry_status``, those of the others after which the node's ``retry`` tries again
            (408, 425, 429, 500, 502, 503, 504).

    Raises:
        HttpStatusError: The answer has another status.
        PayloadTooLargeError: The answer is larger than it may be.
        UnsupportedValueError: ``json`` has something for which JSON has no words, such as NaN.
        UsageError: The request cannot be made as it is written, or its host is not public and not
            named in FLOWCORE_HTTP_ALLOW.
    """
    given = HttpArguments.read(more, uses="http", node=ctx.node_id)
    client = guarded_client(timeout=given.timeout, redirects=given.redirects)
    content, headers = given.body, given.headers
    if "json" in more:
        content = strict_json(given.json_, what=f"'json' of node {ctx.node_id!r}")
        if not any(name.lower() == "content-type" for name in headers):
            headers = {**headers, "Content-Type": "application/json"}
    with (
        client,
        client.stream(
            given.method.upper(), _address(given), headers=headers, content=content
        ) as response,
    ):
        _judge(response, given)
        body = _read(response, given.max_bytes, ctx, time.monotonic() + given.timeout)
        return {
            "status": response.status_code,
            "url": str(response.url),
            "headers": dict(response.headers),
            "body": _decoded(response, body),
        }


def _address(given: HttpArguments) -> str:
    """Add ``params`` to the query that the URL has."""
    if not given.params:
        return given.url
    parts = urlsplit(given.url)
    query = urlencode([(name, _word(value)) for name, value in given.params])
    joined = "&".join(part for part in (parts.query, query) if part)
    return urlunsplit(parts._replace(query=joined))


def _word(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def guarded_client(*, timeout: float, redirects: int = 0) -> Any:
    """Make a client that reaches nothing that it should not, whatever it is redirected to.

    Raises:
        UsageError: ``httpx2`` is not installed.
    """
    try:
        httpx = importlib.import_module("httpx2")
    except ImportError as error:
        raise UsageError("this node needs httpx2: pip install 'flowcore[http]'") from error

    logging.getLogger("httpx2").addFilter(_WITHOUT_CREDENTIALS)  # adds it once

    class Guarded(httpx.HTTPTransport):  # type: ignore[misc, name-defined]
        """Connects to the very address that was looked at."""

        def handle_request(self, request: Any) -> Any:
            host = request.url.host
            port = request.url.port or (443 if request.url.scheme == "https" else 80)
            address = reachable(host, port)
            request.headers.setdefault("Host", request.url.netloc.decode("ascii"))
            request.extensions = {**request.extensions, "sni_hostname": host}
            url, request.url = request.url, request.url.copy_with(host=address)
            try:
                return super().handle_request(request)
            finally:
                request.url = url  # redirects are relative to it

    return httpx.Client(
        transport=Guarded(retries=0),
        timeout=timeout,
        follow_redirects=redirects > 0,
        max_redirects=redirects,
        trust_env=False,
    )


class _WithoutCredentials(logging.Filter):
    """Masks what looks like a credential in the URLs that the client logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        record.msg, record.args = mask_text(said), ()
        return True


_WITHOUT_CREDENTIALS = _WithoutCredentials()


def _judge(response: Any, given: HttpArguments) -> None:
    status, accept = response.status_code, given.accept
    if status in accept if accept is not None else 200 <= status < 300:  # noqa: PLR2004  (success)
        return
    again = status in given.retry_status
    start = next(response.iter_bytes(500), b"").decode("utf-8", "replace")[:500]
    shown = mask_text(given.url.partition("?")[0])
    raise HttpStatusError(f"{shown} answered {status}: {start}".strip(": "), again=again)


def _read(response: Any, most: int, ctx: Context, ends: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in response.iter_bytes():
        size += len(part)
        if size > most:
            msg = f"the answer is larger than {most:,} bytes ('max_bytes' says how large it may be)"
            raise PayloadTooLargeError(msg)
        if ctx.cancelled:
            raise NodeCancelledError("the run was stopped")
        if time.monotonic() > ends:
            raise TimeoutError("the answer takes longer than 'timeout' in all")
        parts.append(part)
    return b"".join(parts)


def _decoded(response: Any, body: bytes) -> Any:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return json.loads(body) if body else None
    if kind.startswith("text/") or kind in {"application/xml", "application/javascript"}:
        return body.decode(response.charset_encoding or "utf-8", "replace")
    try:
        return body.decode() if not kind else body
    except UnicodeDecodeError:
        return body
