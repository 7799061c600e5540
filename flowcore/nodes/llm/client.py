"""The server of a model: its address, its key, one request, and what its errors say.

In: the node's arguments, the body of a request. Out: the bytes of the answer, or an error of
OpenAI's client that names the address, and says when to try again. Not here: what the bytes say.
"""

import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from flowcore.errors import (
    AnswerError,
    FlowcoreError,
    PayloadTooLargeError,
    UsageError,
)
from flowcore.errors.advice import advise
from flowcore.nodes.arguments.calls import LlmArguments
from flowcore.nodes.credentials import mask_text
from flowcore.nodes.http.client import Deadline, client_of, named, shown_url
from flowcore.nodes.http.content_encoding import decoded
from flowcore.nodes.http.retry_after import may_pass, retry_after
from flowcore.nodes.llm.text import mended

__all__ = ["Server"]

_PATH = "/chat/completions"
_DEFAULT = "https://api.openai.com/v1"

#: Bytes of a failure's body that are looked through, and characters that are shown.
_MOST_FAILURE, _SHOWN = 2**20, 500

#: Bytes in which a failure says what it is.
_ENOUGH = 2**16

#: Codes of errors that no waiting mends, whatever their status.
_FOR_GOOD = frozenset(
    {"insufficient_quota", "invalid_api_key", "model_not_found", "context_length_exceeded",
     "invalid_request_error", "authentication_error", "permission_error", "not_found_error"}
)  # fmt: skip

#: Keys of ``options`` that are about the request, and not in it; words of OpenAI's client.
_ABOUT_REQUEST = ("extra_headers", "extra_query", "extra_body")

#: Headers that tell who the worker's owner is.
_OWNER = ("Authorization", "OpenAI-Organization", "OpenAI-Project")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """Address of a server.

    Attributes:
        url: Its address, without a query.
        query: The query that goes with each request.
        is_named: It is named by the definition, and not by whoever runs this worker.
        has_key: The worker's key is for it.
    """

    url: str
    query: Mapping[str, str]
    is_named: bool
    has_key: bool


class Server:
    """A server that speaks OpenAI's protocol."""

    def __init__(self, given: LlmArguments) -> None:
        """Find it.

        Raises:
            UsageError: It has no key, or its address is none; ``openai`` is not installed.
        """
        try:
            self._openai = importlib.import_module("openai")
        except ImportError as error:
            raise UsageError("llm needs the openai client: pip install 'flowcore[llm]'") from error
        self._given = given
        self._base = _base(given)
        self.deadline = Deadline(given.timeout)

    def place(self) -> str:
        """The address, as a sentence shows it."""
        return shown_url(f"{self._base.url}{_PATH}")

    @contextmanager
    def asked(self, body: Mapping[str, Any]) -> Iterator[Iterator[bytes]]:
        """Send a request; what comes back is read in here.

        Args:
            body: The request.

        Yields:
            The bytes of the answer, as they come.

        Raises:
            UsageError: The request cannot be made, or the server may not be reached.
            AnswerError: The answer is cut off, or no answer of a model.
        """
        with named(self.place), self._client() as client, self._errors():
            sent, about = dict(body), {}
            for key in _ABOUT_REQUEST:
                about[key] = sent.pop(key, None) or {}
            model, messages = sent.pop("model"), sent.pop("messages")
            extra = {**sent, **about["extra_body"]}
            self.deadline.again()
            with client.chat.completions.with_streaming_response.create(
                model=model,
                messages=messages,
                extra_body=extra,
                extra_headers=self._headers(about["extra_headers"]),
                extra_query={**self._base.query, **about["extra_query"]},
            ) as answer:
                self.deadline.again()
                yield self._bytes(answer.http_response)

    def _headers(self, given: Mapping[str, str]) -> Mapping[str, Any]:
        """Leave out what tells whose worker this is, where that is nobody's business."""
        if self._given.api_key is not None or self._base.has_key:
            return given
        said = {name.lower() for name in given}
        left_out = [name for name in _OWNER if name.lower() not in said]
        return {**dict.fromkeys(left_out, self._openai.Omit()), **given}

    def _bytes(self, response: Any) -> Iterator[bytes]:
        encoding = response.headers.get("content-encoding", "")
        for part in decoded(response.iter_raw(), encoding, most=self._given.max_bytes):
            if self.deadline.left <= 0:  # also where a proxy stands between
                httpx = importlib.import_module("httpx2")
                raise httpx.ReadTimeout("timed out", request=response.request)
            yield part

    def _client(self) -> Any:
        given, base = self._given, self._base
        web = client_of(
            timeout=given.timeout, deadline=self.deadline, guarded=base.is_named, extra="llm"
        )
        web.send = _bounded(web.send)
        about: dict[str, Any] = {"timeout": given.timeout, "max_retries": 0, "http_client": web}
        if given.api_key is not None:
            about["api_key"] = given.api_key
        elif not base.has_key:
            about["api_key"] = "none"  # and it is not sent
        try:
            return self._openai.OpenAI(base_url=base.url, **about)
        except self._openai.OpenAIError as error:
            what = f"llm: {error}; a server without keys takes any OPENAI_API_KEY"
            raise UsageError(what) from error

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Say in errors of the client, and of the connection, what happened where."""
        httpx = importlib.import_module("httpx2")
        openai = self._openai
        try:
            yield
        except openai.APIStatusError as error:
            raise self._of_status(error) from error.__cause__
        except httpx.TimeoutException as error:
            raise self._silent(openai.APITimeoutError(request=error.request)) from error
        except httpx.RequestError as error:
            what = f"{self.place()}: the answer was cut off: {error or type(error).__name__}"
            raise openai.APIConnectionError(message=what, request=error.request) from error
        except openai.APITimeoutError as error:
            raise self._silent(error) from error.__cause__
        except openai.APIConnectionError as error:
            cause = error.__cause__
            if isinstance(cause, FlowcoreError):
                raise cause from None
            raise _worded(error, f"{self.place()}: {cause or error}") from cause

    def _silent(self, error: Any) -> Any:
        what = f"nothing came for {self._given.timeout:g} s ('timeout' says how long to wait)"
        return _worded(error, f"{self.place()}: {what}")

    def _of_status(self, error: Any) -> Any:
        status, headers = error.status_code, error.response.headers
        told = self._hidden(_message(error.body, error.response))
        where = f"{self.place()} answered {status}"
        if 300 <= status < 400:  # noqa: PLR2004  (redirects)
            to = shown_url(headers.get("location", "nowhere"))
            told = f"it redirects to {to}: give that address as 'base_url', which is not followed"
        again = may_pass(status) and str(error.code) not in _FOR_GOOD
        if headers.get("x-should-retry") == "false":
            again = False
        advise(error, final=not again, after=retry_after(headers))
        return _worded(error, f"{where}: {told}{self._hint(status, told)}".rstrip(": "))

    def _hint(self, status: int, told: str) -> str:
        if "stream_options" in told:
            return " ('options: {stream_options: null}' leaves it out)"
        if status in (401, 403) and not self._base.has_key and self._given.api_key is None:
            return (
                " (no key was sent: the worker's OPENAI_API_KEY is for its OPENAI_BASE_URL alone; "
                "give 'api_key: ${{ secrets.NAME }}')"
            )
        if status in (404, 405) and "/v1" not in self._base.url:
            return " (does 'base_url' end as it should, such as in /v1?)"
        return ""

    def _hidden(self, text: str) -> str:
        """A text of the server without the key."""
        key = self._given.api_key or os.environ.get("OPENAI_API_KEY", "")
        hidden = text.replace(key, "***") if len(key) >= 4 else text  # noqa: PLR2004  (redaction.SHORTEST)
        return mask_text(hidden)

    def failure(self, told: Mapping[str, Any]) -> Exception:
        """Make the error of what a server tells after it has said 200."""
        httpx = importlib.import_module("httpx2")
        request = httpx.Request("POST", f"{self._base.url}{_PATH}")
        what = f"{self.place()} answered with an error: {self._hidden(str(told['message']))}"
        error: Exception = self._openai.APIError(what[: 2 * _SHOWN], request, body=dict(told))
        codes = {str(told.get(key)) for key in ("code", "type", "status")}
        numbers = [int(code) for code in codes if code.isdecimal() and len(code) == 3]  # noqa: PLR2004
        final = bool(codes & _FOR_GOOD) or any(
            400 <= number < 500 and not may_pass(number)  # noqa: PLR2004
            for number in numbers
        )
        advise(error, final=final)
        return error


def _base(given: LlmArguments) -> _Base:
    own = os.environ.get("OPENAI_BASE_URL") or _DEFAULT
    if given.base_url is None and not _is_url(own):
        what = f"OPENAI_BASE_URL of the worker is not a URL, such as {_DEFAULT}: {mask_text(own)!r}"
        raise UsageError(what)
    parts = urlsplit(given.base_url or own)
    worker = urlsplit(own if _is_url(own) else _DEFAULT)
    is_same = (parts.scheme, parts.netloc) == (worker.scheme, worker.netloc)
    path = parts.path.rstrip("/").removesuffix(_PATH).rstrip("/")
    return _Base(
        url=urlunsplit((parts.scheme, parts.netloc, path, "", "")),
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        is_named=given.base_url is not None,
        has_key=given.base_url is None or is_same,
    )


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _bounded(send: Any) -> Any:
    """Send as before, but read no more than the beginning of a failure's body."""
    httpx = importlib.import_module("httpx2")

    def bounded(request: Any, **about: Any) -> Any:
        response = send(request, **about)
        if response.status_code < 300:  # noqa: PLR2004  (success)
            return response
        start = bytearray()
        encoding = response.headers.get("content-encoding", "")
        with suppress(httpx.HTTPError, AnswerError, PayloadTooLargeError):
            for part in decoded(response.iter_raw(), encoding, most=_MOST_FAILURE):
                start += part
                if len(start) > _ENOUGH:
                    break
        response.close()
        of_body = ("content-encoding", "content-length", "transfer-encoding")
        headers = [pair for pair in response.headers.multi_items() if pair[0] not in of_body]
        return httpx.Response(
            response.status_code, headers=headers, content=bytes(start), request=request
        )

    return bounded


def _message(body: Any, response: Any) -> str:
    """Return the message of a failure."""
    if isinstance(body, Mapping):
        for key in ("message", "detail", "error", "msg"):
            if isinstance(body.get(key), str) and body[key]:
                return mended(body[key])[:_SHOWN]
    start: bytes = response.content[:_SHOWN]
    return start.decode("utf-8", "replace").strip()


def _worded(error: Any, message: str) -> Any:
    """Give an error of the client other words; its class stays, which ``retry_on`` may name."""
    error.args, error.message = (message,), message
    return error
