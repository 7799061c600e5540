"""Web pages that misbehave: what their server sends, and what the node ``http`` makes of it.

In: nothing. Out: one row for each of the table in docs/reference/http-and-llm.md.
"""

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.misbehaving import Asked, Line, Page
from tests.misbehaving_models import FAILED, Fails, Gives, body, sends

__all__ = ["PAGES", "WebPage"]


@dataclass(frozen=True, slots=True)
class WebPage:
    """A page, what comes of it, and arguments of the node beside its URL."""

    outcome: Gives | Fails
    page: Page
    given: Mapping[str, Any] = field(default_factory=dict)


PAGES: dict[str, WebPage] = {}


def page(name: str, outcome: Any, page: Page, **given: Any) -> None:
    """Add a page; an outcome that is no Outcome is the body of an answer."""
    is_outcome = isinstance(outcome, Gives | Fails)
    PAGES[name] = WebPage(outcome if is_outcome else Gives({"body": outcome}), page, given)


def told(body: Any, warning: str) -> Gives:
    return Gives({"body": body, "warning": warning})


# ── text and bytes ──────────────────────────────────────────────────────────────────────────────

E = "é€"
CP = E.encode("cp1252")
NO_CHARSET = "the text is declared as 'utf-8', and is neither that nor UTF-8: given as bytes"
page("charset-declared", E, body(CP, "text/html; charset=windows-1252"))
page("charset-in-quotes", E, body(CP, 'text/plain; format=flowed; CHARSET="Windows-1252"'))
page("charset-of-two", E, body(E.encode(), "text/html; charset=utf-8,gbk"))
page("charset-unknown", E, body(E.encode(), "text/plain; charset=utf8mb4"))
page("charset-no-text", "aGk=", body(b"aGk=", "text/plain; charset=base64"))
page("charset-that-is-code", E, body(E.encode(), "text/plain; charset=unicode_escape"))
page("charset-undefined", E, body(E.encode(), "text/plain; charset=undefined"))
page("charset-wrong", E, body(E.encode(), "text/plain; charset=us-ascii"))
page("charset-not-kept", told(CP, NO_CHARSET), body(CP, "text/plain; charset=utf-8"))
page("charset-unknown-and-no-utf-8", Gives({"body": CP}), body(CP, "text/plain; charset=x-none"))
page("charset-of-html", "<meta charset='iso-8859-1'>é",
     body("<meta charset='iso-8859-1'>é".encode("latin-1"), "text/html"))  # fmt: skip
page("charset-of-xml", '<?xml version="1.0" encoding="ISO-8859-1"?><a>é</a>',
     body('<?xml version="1.0" encoding="ISO-8859-1"?><a>é</a>'.encode("latin-1"),
          "application/xml"))  # fmt: skip
page("byte-order-mark", E, body(b"\xef\xbb\xbf" + E.encode(), "text/csv"))
page("utf-16-with-mark", E, body(b"\xff\xfe" + E.encode("utf-16-le"), "text/plain"))
for kind in (
    "application/xml", "application/atom+xml", "image/svg+xml", "application/yaml",
    "application/x-yaml", "application/x-ndjson", "application/jsonl", "application/javascript",
    "application/x-www-form-urlencoded", "application/toml", "application/graphql",
    "application/sql", "text/event-stream", "application/vnd.some; charset=utf-8",
):  # fmt: skip
    page(f"text-{kind.partition(';')[0]}", "a: é\n", body("a: é\n".encode(), kind))
for kind in ("application/octet-stream", "image/png", "application/pdf", "application/zip"):
    page(f"bytes-{kind}", bytes(range(256)), body(bytes(range(256)), kind))
page("no-content-type", "é", sends("é".encode(), None))
page("no-content-type-and-no-text", b"\xff\x00", sends(b"\xff\x00", None))

# ── JSON ────────────────────────────────────────────────────────────────────────────────────────

for kind in ("application/json", "application/problem+json", "text/json", "application/vnd.a+json"):
    page(f"json-{kind}", {"n": "é"}, body('{"n":"é"}'.encode(), kind))
page("json-with-mark", {"a": 1}, body(b'\xef\xbb\xbf{"a":1}'))
page("json-in-latin-1", {"n": "é"},
     body('{"n":"é"}'.encode("latin-1"), "application/json; charset=iso-8859-1"))  # fmt: skip
page("json-in-utf-16", {"a": 1}, body('{"a":1}'.encode("utf-16-le")))
page("json-empty", None, body(b" \n"))
page("json-that-is-html", Fails(FAILED, "says it is application/json, but is not JSON: '<html>"),
     body(b"<html>oops</html>"))  # fmt: skip
page("json-cut", Fails(FAILED, "is not JSON"), body(b'{"a": [1, 2'))
NUMBERS = b'{"v": 123456789012345678901234567890, "w": 18446744073709551615, "f": 1.10}'
page("json-of-large-numbers",
     told({"v": "123456789012345678901234567890", "w": 2**64 - 1, "f": 1.1},
          "whole numbers of more than 64 bits are given as text"),
     body(NUMBERS))  # fmt: skip
HALF = '{"a": "\\ud83d"}'
page("json-with-half-an-emoji",
     told(HALF, "the JSON has half of a surrogate pair, which is not text: given as it came"),
     body(HALF.encode()))  # fmt: skip
page("json-with-an-emoji", {"a": "😀"}, body(b'{"a": "\\ud83d\\ude00"}'))
DEEP = "[" * 100_000 + "]" * 100_000
page("json-too-deep", told(DEEP, "the JSON is too deep for a value: given as it came"),
     body(DEEP.encode()))  # fmt: skip

# ── how a body comes ────────────────────────────────────────────────────────────────────────────

TEXT = b"hello " * 1000
PACKED = gzip.compress(TEXT)
PLAIN = "text/plain"
WHOLE = TEXT.decode()
page("gzip", WHOLE, body(PACKED, PLAIN, Content_Encoding="gzip"))
page("gzip-of-two-members", WHOLE * 2, body(PACKED * 2, PLAIN, Content_Encoding="x-gzip"))
page("gzip-of-gzip", WHOLE, body(gzip.compress(PACKED), PLAIN, Content_Encoding="gzip, gzip"))
page("deflate", WHOLE, body(zlib.compress(TEXT), PLAIN, Content_Encoding="deflate"))
page("deflate-bare", WHOLE, body(zlib.compress(TEXT)[2:-4], PLAIN, Content_Encoding="deflate"))
page("identity", WHOLE, body(TEXT, PLAIN, Content_Encoding="identity"))
page("gzip-cut", Fails(FAILED, "ends in the middle of what gzip has compressed"),
     body(PACKED[:-5], PLAIN, Content_Encoding="gzip"))  # fmt: skip
page("gzip-that-is-none", Fails(FAILED, "says it is gzip, and is not"),
     body(TEXT, PLAIN, Content_Encoding="gzip"))  # fmt: skip
for encoding in ("br", "zstd", "compress"):
    page(f"encoding-{encoding}", Fails(FAILED, f"in the encoding '{encoding}'", 1),
         body(b"\x0b\x02\x80hello\x03", PLAIN, Content_Encoding=encoding))  # fmt: skip
page("encodings-upon-each-other", Fails(FAILED, "is encoded 9 times"),
     body(PACKED, PLAIN, Content_Encoding=", ".join(["gzip"] * 9)))  # fmt: skip
TOO_LARGE = Fails("PayloadTooLargeError", "larger than 100,000 bytes")
ZEROS = gzip.compress(b"0" * 50_000_000)
page("bomb", TOO_LARGE, body(ZEROS, PLAIN, Content_Encoding="gzip"), max_bytes=100_000)
TWICE = body(gzip.compress(ZEROS), PLAIN, Content_Encoding="gzip, gzip")
page("bomb-in-a-bomb", TOO_LARGE, TWICE, max_bytes=100_000)
page("too-large", TOO_LARGE, body(b"0" * 100_001, PLAIN), max_bytes=100_000)
CUT = Fails("httpx2.RemoteProtocolError", "closed connection|without sending complete")
page("cut-before-its-length", CUT, sends(b"abc", PLAIN, Content_Length="100"))


def _cut_in_a_chunk(line: Line, _: Asked) -> None:
    line.head(200, PLAIN, Transfer_Encoding="chunked")
    line.chunk(b"abc")
    line.write(b"fff\r\nab")


def _dripping_body(line: Line, _: Asked) -> None:
    line.head(200, PLAIN, Content_Length="100000")
    line.drip(b".")


def _dripping_headers(line: Line, _: Asked) -> None:
    line.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    line.drip(b"x")


def _hints_first(line: Line, asked: Asked) -> None:
    line.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    body(b"ok", PLAIN)(line, asked)


page("cut-in-a-chunk", CUT, _cut_in_a_chunk)
page("cut-before-the-headers", Fails("httpx2.RemoteProtocolError", "disconnected"),
     lambda line, _: (line.write(b"HTTP/1.1 2"), None)[1])  # fmt: skip
page("no-http", Fails("httpx2.RemoteProtocolError", ""),
     lambda line, _: (line.write(b"220 smtp.example ESMTP\r\n"), None)[1])  # fmt: skip
page("body-that-drips", Fails("TimeoutError", "longer than 'timeout' in all"), _dripping_body,
     timeout="300ms")  # fmt: skip
page("headers-that-drip", Fails("httpx2.ReadTimeout", "no answer within 'timeout'"),
     _dripping_headers, timeout="300ms")  # fmt: skip
page("silence", Fails("httpx2.ReadTimeout", "no answer within 'timeout'"),
     lambda line, _: line.wait(), timeout="300ms")  # fmt: skip
page("early-hints", "ok", _hints_first)
page("status-204", Gives({"status": 204, "body": ""}), sends(b"", None, 204))
page(
    "status-204-of-json", Gives({"status": 204, "body": None}), sends(b"", "application/json", 204)
)

# ── redirects ───────────────────────────────────────────────────────────────────────────────────


def echo(line: Line, asked: Asked) -> None:
    seen = {"method": asked.method, "path": asked.path, "body": asked.body.decode()}
    line.reply(json.dumps({**seen, "headers": asked.headers}).encode(), kind="application/json")


page("echo", Gives({"status": 200}), echo)
page("redirect", Gives({"status": 200}), sends(b"", None, 302, Location="/echo"))
page("redirect-in-a-circle", Fails("httpx2.TooManyRedirects", "more than 5 redirects"),
     sends(b"", None, 302, Location="/redirect-in-a-circle"))  # fmt: skip
page("redirect-to-nowhere", Fails("HttpStatusError", "answered 302", 1), sends(b"", None, 302))
page("redirect-to-no-web", Fails("UsageError", "which is not a web address"),
     sends(b"", None, 302, Location="ftp://example.org/x"))  # fmt: skip
page("redirect-to-a-guarded-host", Fails("UsageError", "is not a public address"),
     sends(b"", None, 302, Location="http://10.1.1.1/latest/meta-data"))  # fmt: skip
page("redirect-switched-off", Fails("HttpStatusError", "answered 302", 1),
     sends(b"", None, 302, Location="/echo"), redirects=0)  # fmt: skip

# ── statuses ────────────────────────────────────────────────────────────────────────────────────

for status in (400, 401, 403, 404, 405, 410, 422):
    page(f"status-{status}", Fails("HttpStatusError", f"answered {status}: because", 1),
         body(b"because", PLAIN, status))  # fmt: skip
for status in (408, 409, 425, 429, 500, 502, 503, 504, 522):
    page(f"status-{status}", Fails("HttpStatusError", f"answered {status}: because"),
         body(b"because", PLAIN, status))  # fmt: skip
page("status-accepted", Gives({"status": 404, "body": "because"}), body(b"because", PLAIN, 404),
     accept=[404])  # fmt: skip
page("status-named-for-retry", Fails("HttpStatusError", "answered 404"),
     body(b"because", PLAIN, 404), retry_status=[404])  # fmt: skip
page("failure-that-is-a-bomb", Fails("HttpStatusError", "answered 500: 000"),
     body(ZEROS, PLAIN, 500, Content_Encoding="gzip"))  # fmt: skip
page("failure-that-is-cut", Fails("HttpStatusError", "answered 500: abc"),
     sends(b"abc", PLAIN, 500, Content_Length="100"))  # fmt: skip
