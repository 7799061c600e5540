"""The node type ``http``: one request.

In: the node's ``with``. Out: status, headers and body. Not here: which hosts may be reached
(reach), how often it is tried (the node's ``retry``).
"""

import importlib
import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from flowcore.errors import HttpStatusError, NodeCancelledError, PayloadTooLargeError, UsageError
from flowcore.nodes.context import Context
from flowcore.nodes.credentials import mask_text
from flowcore.nodes.reach import reachable
from flowcore.types import parse_duration

__all__ = ["guarded_client", "http"]

#: Statuses after which another attempt makes sense.
TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})

_MOST = 10 * 2**20
_REDIRECTS = 5


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
        UsageError: The request cannot be made as it is written, or its host is not public and not
            named in FLOWCORE_HTTP_ALLOW.
    """
    url = more.get("url")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise UsageError(
            f"http needs a 'url' that begins with http:// or https://, got {_shown(url)}"
        )
    if "json" in more and "body" in more:
        raise UsageError("http takes either 'json' or 'body', not both")
    seconds = float(parse_duration(more.get("timeout", 30)))
    most = int(more.get("max_bytes", _MOST))
    client = guarded_client(timeout=seconds, redirects=int(more.get("redirects", _REDIRECTS)))
    sent = {"json": more["json"]} if "json" in more else {"content": more.get("body")}
    with (
        client,
        client.stream(
            str(more.get("method", "GET")).upper(),
            url,
            headers=more.get("headers"),
            params=more.get("params"),
            **sent,
        ) as response,
    ):
        _judge(response, more, url)
        body = _read(response, most, ctx, time.monotonic() + seconds)
        return {
            "status": response.status_code,
            "url": str(response.url),
            "headers": dict(response.headers),
            "body": _decoded(response, body),
        }


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


def _shown(url: Any) -> str:
    """Show what was given as a URL."""
    return repr(mask_text(url) if isinstance(url, str) else url)


class _WithoutCredentials(logging.Filter):
    """Masks what looks like a credential in the URLs that the client logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        record.msg, record.args = mask_text(said), ()
        return True


_WITHOUT_CREDENTIALS = _WithoutCredentials()


def _judge(response: Any, more: Mapping[str, Any], url: str) -> None:
    status = response.status_code
    accept = more.get("accept")
    if status in accept if accept is not None else 200 <= status < 300:  # noqa: PLR2004  (success)
        return
    again = status in more.get("retry_status", TRY_AGAIN)
    start = next(response.iter_bytes(500), b"").decode("utf-8", "replace")[:500]
    shown = mask_text(url.partition("?")[0])
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
