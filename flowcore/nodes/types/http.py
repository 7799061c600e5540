"""The node type ``http``: one request.

In: the node's ``with``. Out: status, headers and body. Not here: which hosts may be reached
(egress), how often it is tried (the node's ``retry``).
"""

import importlib
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from flowcore.errors import (
    AnswerError,
    HttpStatusError,
    NodeCancelledError,
    PayloadTooLargeError,
    UsageError,
)
from flowcore.json_text import strict_json
from flowcore.nodes.arguments.calls import HttpArguments
from flowcore.nodes.context import Context
from flowcore.nodes.credentials import mask_text
from flowcore.nodes.http.charset import body_of
from flowcore.nodes.http.client import Deadline, client_of, named, redirected, shown_url
from flowcore.nodes.http.content_encoding import decoded
from flowcore.nodes.http.retry_after import may_pass, retry_after

__all__ = ["http"]

#: Bytes of an answer that a failure shows.
_SHOWN = 500

#: Bytes of a failure that are looked through.
_MOST_FAILURE = 2**20


def http(ctx: Context, **more: Any) -> dict[str, Any]:
    """Send one HTTP request; give on ``{"status", "url", "headers", "body"}``.

    The body is the value of a JSON answer, text, or bytes; where it is not what the answer says of
    itself, ``warning`` says so. Needs ``flowcore[http]``.

    Args:
        ctx: The attempt.
        **more: ``url``; ``method`` (GET); ``headers``; ``params``, of the query; ``json`` or
            ``body``, what is sent; ``timeout`` (30s); ``max_bytes`` of the answer (10 MiB);
            ``redirects`` to follow (5); ``accept``, statuses that are no failure (200 to 299);
            ``retry_status``, those of the others after which the node's ``retry`` tries again
            (408, 409, 425, 429, 500 to 599), not before the answer's ``Retry-After``.

    Raises:
        HttpStatusError: The answer has another status.
        AnswerError: The answer is cut off, or not what it says it is.
        PayloadTooLargeError: The answer is larger than it may be.
        UnsupportedValueError: ``json`` has something which JSON cannot represent, such as NaN.
        UsageError: The request cannot be made as it is written, or its host is not public and not
            named in FLOWCORE_HTTP_ALLOW.
    """
    given = HttpArguments.read(more, uses="http", node=ctx.node_id)
    content, headers = given.body, given.headers
    if "json" in more:
        content = strict_json(given.json_, what=f"'json' of node {ctx.node_id!r}")
        if not any(name.lower() == "content-type" for name in headers):
            headers = {**headers, "Content-Type": "application/json"}
    call = _Call(given, ctx)
    with named(call.place), call.answered(headers, content) as response:
        call.judge(response)
        body = call.body(response)
        value, warning = body_of(body, response.headers.get("content-type", ""))
        output = {
            "status": response.status_code,
            "url": str(response.url),
            "headers": dict(response.headers),
            "body": value,
        }
        return output if warning is None else {**output, "warning": warning}


class _Call:
    """One request, and those that its redirects make of it."""

    def __init__(self, given: HttpArguments, ctx: Context) -> None:
        self._given = given
        self._ctx = ctx
        self._at = given.url

    def place(self) -> str:
        """The address, as a sentence shows it."""
        first, last = shown_url(self._given.url), shown_url(self._at)
        return first if first == last else f"{first}, redirected to {last}"

    @contextmanager
    def answered(self, headers: dict[str, str], content: str | bytes | None) -> Iterator[Any]:
        """Send it, and follow its redirects; the last answer is read in here."""
        given = self._given
        deadline = Deadline(given.timeout)
        with client_of(timeout=given.timeout, deadline=deadline) as client:
            try:
                request = client.build_request(
                    given.method.upper(), _address(given), headers=headers, content=content
                )
            except (TypeError, ValueError) as error:
                what = f"{self.place()}: the request cannot be made as it is written: {error}"
                raise UsageError(what) from error
            response = self._last(client, request)
            deadline.lift()  # the body has its own
            try:
                yield response
            finally:
                response.close()

    def _last(self, client: Any, request: Any) -> Any:
        """Follow redirects to the answer that is none."""
        most = self._given.redirects
        for _ in range(most + 1):
            response = client.send(request, stream=True)
            if most == 0 or response.next_request is None:
                return response
            response.close()
            request = redirected(response, request)
            self._at = str(request.url)
        httpx = importlib.import_module("httpx2")
        what = f"there are more than {most} redirects ('redirects' says how many are followed)"
        raise httpx.TooManyRedirects(what, request=request)

    def judge(self, response: Any) -> None:
        """Raise of a status that is a failure."""
        status, given = response.status_code, self._given
        if status in given.accept if given.accept is not None else 200 <= status < 300:  # noqa: PLR2004  (success)
            return
        again = may_pass(status) if given.retry_status is None else status in given.retry_status
        said = f"{self.place()} answered {status}: {mask_text(self._start(response))}"
        raise HttpStatusError(said.strip(": "), again=again, after=retry_after(response.headers))

    def _start(self, response: Any) -> str:
        """The beginning of a failure's body; one that cannot be read is no other failure."""
        start = b""
        httpx = importlib.import_module("httpx2")
        with suppress(httpx.HTTPError, AnswerError, PayloadTooLargeError, TimeoutError):
            for part in self._parts(response, most=_MOST_FAILURE):
                start += part
                if len(start) >= _SHOWN:
                    break
        return start[:_SHOWN].decode("utf-8", "replace").strip()

    def body(self, response: Any) -> bytes:
        """Read the whole body."""
        return b"".join(self._parts(response, most=self._given.max_bytes))

    def _parts(self, response: Any, *, most: int) -> Iterator[bytes]:
        ends = time.monotonic() + self._given.timeout
        encoding = response.headers.get("content-encoding", "")
        for part in decoded(response.iter_raw(), encoding, most=most):
            if self._ctx.cancelled:
                raise NodeCancelledError("the run was stopped")
            if time.monotonic() > ends:
                raise TimeoutError("the answer takes longer than 'timeout' in all")
            yield part


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
