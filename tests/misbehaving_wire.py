"""Models that misbehave in bytes and statuses: further rows of the same table.

In: nothing. Out: behaviours, added to those of misbehaving_models.
"""

import gzip
import json

from tests.misbehaving import Asked, Line
from tests.misbehaving_models import (
    BEHAVIOURS,
    FAILED,
    USAGE,
    Behaviour,
    Fails,
    Gives,
    body,
    chunk,
    event,
    events,
    plain_answer,
    sends,
    sent,
    stream,
    whole,
)

__all__ = ["BEHAVIOURS", "STATUSES_FOR_GOOD", "STATUSES_THAT_PASS"]

# ── what is not an answer of a model ──────────────────────────────────────────────────────────

PAGE = b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"
NO_ANSWER = Fails(FAILED, "that is not an answer of a model: '<!DOCTYPE html>")
sent("html-with-200", NO_ANSWER, body(PAGE, "text/html"))
sent("html-as-json", NO_ANSWER, body(PAGE, "application/json"))
sent("html-as-stream", NO_ANSWER, sends(PAGE, "text/event-stream"))
sent("empty", Fails(FAILED, "the answer is empty"), body(b""))
sent("empty-stream", Fails(FAILED, "the answer is empty"), sends(b"", "text/event-stream"))
sent("status-204", Fails(FAILED, "the answer is empty"), sends(b"", "text/plain", 204))
NO_CHOICES = Fails(FAILED, "no 'choices'|no choice")
OTHER = {"model": "m", "message": {"role": "assistant", "content": "Hi"}, "done": True}
sent("json-of-another-protocol", NO_CHOICES, body(OTHER))
sent("stream-of-another-protocol", NO_CHOICES, stream(OTHER))
sent("json-list", Fails(FAILED, "that is not an answer of a model"), body([plain_answer({})]))
sent("json-text", Fails(FAILED, "that is not an answer of a model"), body("Hi"))
sent("json-null", Fails(FAILED, "that is not an answer of a model"), body(None))
sent("json-lines", Fails(FAILED, "cut off, or not JSON"), body(b'{"a": 1}\n{"a": 2}\n'))
sent("choices-empty", NO_CHOICES, body({"choices": []}))
sent("choices-null", NO_CHOICES, body({"choices": None}))
sent("choices-never", NO_CHOICES, stream({"choices": [], "usage": USAGE}))
sent("choice-no-mapping", Fails(FAILED, "a choice is not a mapping"), body({"choices": ["Hi"]}))
sent("message-null", Fails(FAILED, "the answer says nothing"), body(plain_answer(None)))
sent("done-and-nothing-else", NO_CHOICES, stream())
sent("event-no-json", Fails(FAILED, "not JSON: 'Hi there'"), stream("Hi there"))
sent(
    "only-comments", Fails(FAILED, "there is no choice"), sends(b": hello\n\n", "text/event-stream")
)

# ── bytes ───────────────────────────────────────────────────────────────────────────────────────

HALVES = ["\ud83d", "\ude00"]
EMOJI = Gives({"text": "a\U0001f600b"})
RAW = "日本語😀é\u2028x"


def _escaped(*contents: str) -> bytes:
    """Events whose JSON is ASCII."""
    pieces = [f"data: {json.dumps(chunk({'content': text}))}\n\n" for text in contents]
    return "".join([*pieces, "data: [DONE]\n\n"]).encode()


def _in_bytes(line: Line, _: Asked) -> None:
    """An emoji whose bytes are in two events, neither of which is UTF-8."""
    line.head(200, "text/event-stream")
    line.write(event(chunk({"content": "a@b"})).replace(b"@b", b"\xf0\x9f"))
    line.write(event(chunk({"content": "@b"}, "stop")).replace(b"@", b"\x98\x80"))
    line.write(event("[DONE]"))


def _byte_by_byte(line: Line, asked: Asked) -> None:
    line.head(200, "text/event-stream", Transfer_Encoding="chunked")
    for byte in events(chunk({"content": RAW}, "stop")):
        line.chunk(bytes([byte]))
    line.write(b"0\r\n\r\n")


def _ended(end: str) -> bytes:
    return events(chunk({"content": "Hi"}), chunk({}, "stop"), end=end)


HI = Gives({"text": "Hi"})
sent(
    "emoji-as-two-halves",
    EMOJI,
    sends(_escaped("a" + HALVES[0], HALVES[1] + "b"), "text/event-stream"),
)
sent("emoji-in-two-events", EMOJI, _in_bytes)
sent("half-an-emoji", Gives({"text": "a\ufffd"}), sends(_escaped("a\ud83d"), "text/event-stream"))
sent("byte-by-byte", Gives({"text": RAW}), _byte_by_byte)
sent("byte-order-mark", HI, sends(b"\xef\xbb\xbf" + _ended("\n"), "text/event-stream"))
sent("lines-end-in-crlf", HI, sends(_ended("\r\n"), "text/event-stream"))
sent("lines-end-in-cr", HI, sends(_ended("\r"), "text/event-stream"))
sent(
    "no-space-after-data", HI, sends(_ended("\n").replace(b"data: ", b"data:"), "text/event-stream")
)
sent("no-line-between-events", HI, sends(_ended("\n").replace(b"\n\n", b"\n"), "text/event-stream"))
sent("no-line-at-the-end", HI, sends(_ended("\n").rstrip(b"\n"), "text/event-stream"))
sent("no-content-type", HI, sends(_ended("\n"), None))
sent("stream-as-json", HI, sends(_ended("\n"), "application/json"))
sent("stream-though-not-asked", HI, sends(_ended("\n"), "text/event-stream; charset=utf-8"))
sent("whole-though-asked-for-a-stream", HI, whole({"content": "Hi"}))
sent(
    "json-as-stream",
    HI,
    sends(json.dumps(plain_answer({"content": "Hi"})).encode(), "text/event-stream"),
)
sent(
    "json-after-spaces",
    HI,
    body(b"\n \n" * 50 + json.dumps(plain_answer({"content": "Hi"})).encode()),
)
INDENTED = json.dumps(chunk({"content": "Hi"}, "stop"), indent=1).replace("\n", "\ndata: ")
sent("data-of-several-lines", HI, sends(f"data: {INDENTED}\n\n".encode(), "text/event-stream"))
KEPT = b": OPENROUTER PROCESSING\n\n" * 200 + b"event: ping\ndata: \n\nid: 7\nretry: 5\n\n"
sent("comments-and-pings", HI, sends(KEPT + _ended("\n"), "text/event-stream"))
sent("comment-as-data", HI, sends(b"data: : PROCESSING\n\n" + _ended("\n"), "text/event-stream"))
sent("more-after-done", HI, sends(_ended("\n") + event({"error": "late"}), "text/event-stream"))
TOO_LARGE = Fails("PayloadTooLargeError", "larger than 100,000 bytes")


def _endless_line(line: Line, _: Asked) -> None:
    line.head(200, "text/event-stream")
    line.write(b"data: ")
    while line.write(b"x" * 10_000):
        pass


sent("line-without-end", TOO_LARGE, _endless_line, max_bytes=100_000)
BOMB = gzip.compress(b"data: " + b"0" * 5_000_000)
sent("bomb", TOO_LARGE, body(BOMB, Content_Encoding="gzip"), max_bytes=100_000)
sent(
    "compressed-and-is-not",
    Fails(FAILED, "says it is gzip"),
    body(b'{"a": 1}', Content_Encoding="gzip"),
)

# ── waiting ─────────────────────────────────────────────────────────────────────────────────────

SILENT = Fails("openai.APITimeoutError", "/v1/chat/completions: nothing came for 0.3 s")


def _comments_for_ever(line: Line, _: Asked) -> None:
    line.head(200, "text/event-stream")
    line.write(event(chunk({"content": "Hi"})))
    line.drip(b": still here\n\n")


def _dripping_document(line: Line, _: Asked) -> None:
    line.head(200, "application/json")
    line.drip(b" ")


def _dripping_headers(line: Line, _: Asked) -> None:
    line.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    line.drip(b"x")


def _silent(line: Line, _: Asked) -> None:
    line.wait()


def _stops(line: Line, _: Asked) -> None:
    line.head(200, "text/event-stream")
    line.write(event(chunk({"content": "Hi"})))
    line.wait()


for name, page in {
    "comments-for-ever": _comments_for_ever,
    "document-that-drips": _dripping_document,
    "headers-that-drip": _dripping_headers,
    "silence": _silent,
    "silence-in-the-middle": _stops,
}.items():
    sent(name, SILENT, page, timeout="300ms")


def _slow_but_alive(line: Line, _: Asked) -> None:
    line.head(200, "text/event-stream")
    for text in "Hi":
        line.write(event(chunk({"content": text})))
    line.write(events(chunk({}, "stop")))


def _hints_first(line: Line, asked: Asked) -> None:
    line.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    sends(_ended("\n"), "text/event-stream")(line, asked)


sent("several-events-at-once", HI, _slow_but_alive)
sent("early-hints", HI, _hints_first)

# ── usage and choices ───────────────────────────────────────────────────────────────────────────

BEHAVIOURS["usage-in-each-piece"] = Behaviour(
    Gives({"text": "Hi", "usage": USAGE}),
    stream(
        chunk({"content": "H"}, usage={**USAGE, "total_tokens": 2}),
        chunk({"content": "i"}, usage=USAGE),
        chunk({}, "stop"),
    ),
    whole({"content": "Hi"}, usage=USAGE),
)
BEHAVIOURS["usage-behind-the-end"] = Behaviour(
    Gives({"text": "Hi", "usage": USAGE}),
    stream(
        {"choices": [], "model": "", "prompt_filter_results": []},
        chunk({"content": "Hi"}),
        chunk({}, "stop"),
        {"choices": [], "usage": USAGE},
    ),
    whole({"content": "Hi"}, usage=USAGE),
)
DETAILS = {**USAGE, "prompt_tokens_details": {"cached_tokens": 1}}
BEHAVIOURS["usage-in-detail"] = Behaviour(
    Gives({"usage": DETAILS}),
    stream(chunk({"content": "Hi"}, "stop"), {"choices": [], "usage": DETAILS}),
    whole({"content": "Hi"}, usage=DETAILS),
)
NO_USAGE = {"text": "Hi", "usage": None}
sent(
    "usage-null",
    Gives(NO_USAGE),
    stream(chunk({"content": "Hi"}, "stop"), {"choices": [], "usage": None}),
)
sent(
    "usage-no-mapping", Gives(NO_USAGE), stream(chunk({"content": "Hi"}, "stop", usage="3 tokens"))
)
ONLY_TOTAL = {"prompt_tokens": None, "completion_tokens": None, "total_tokens": 3}
sent(
    "usage-in-part",
    Gives({"usage": ONLY_TOTAL}),
    stream(chunk({"content": "Hi"}, "stop", usage={"total_tokens": 3})),
)
TWO_CHOICES = plain_answer({"content": "A1"})
TWO_CHOICES["choices"].append({"index": 1, "message": {"content": "B1"}, "finish_reason": "stop"})
BEHAVIOURS["several-choices"] = Behaviour(
    Gives({"text": "A1"}),
    stream(
        chunk({"content": "A"}),
        chunk({"content": "B"}, index=1),
        chunk({"content": "1"}, "stop", index=1),
        chunk({"content": "1"}, "stop"),
    ),
    body(TWO_CHOICES),
    {"options": {"n": 2}},
)
BEHAVIOURS["one-of-several-choices-without-reason"] = Behaviour(
    Gives({"text": "A"}),
    stream(chunk({"content": "A"}), chunk({"content": "B"}, index=1), chunk({}, "stop")),
    None,
    {"options": {"n": 2}},
)
BEHAVIOURS["one-of-several-choices-cut"] = Behaviour(
    Fails(FAILED, "the stream ends without its end"),
    stream(chunk({"content": "A"}, "stop"), chunk({"content": "B"}, index=1), done=False),
    None,
    {"options": {"n": 2}},
)

# ── statuses ────────────────────────────────────────────────────────────────────────────────────

STATUSES_FOR_GOOD = {
    400: "BadRequestError",
    401: "AuthenticationError",
    402: "APIStatusError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    405: "APIStatusError",
    413: "APIStatusError",
    422: "UnprocessableEntityError",
}
STATUSES_THAT_PASS = {
    408: "APIStatusError",
    409: "ConflictError",
    425: "APIStatusError",
    429: "RateLimitError",
    500: "InternalServerError",
    502: "InternalServerError",
    503: "InternalServerError",
    504: "InternalServerError",
    529: "InternalServerError",
}
for attempts, statuses in ((1, STATUSES_FOR_GOOD), (2, STATUSES_THAT_PASS)):
    for status, kind in statuses.items():
        sent(
            f"status-{status}",
            Fails(f"openai.{kind}", f"/v1/chat/completions answered {status}: because", attempts),
            body({"error": {"message": "because"}}, status=status),
        )
sent(
    "status-503-of-html",
    Fails("openai.InternalServerError", "answered 503: <!DOCTYPE html>"),
    body(PAGE, "text/html", status=503),
)
sent(
    "quota-is-used-up",
    Fails("openai.RateLimitError", "answered 429: no money", 1),
    body({"error": {"message": "no money", "code": "insufficient_quota"}}, status=429),
)
sent(
    "server-says-not-again",
    Fails("openai.InternalServerError", "answered 500", 1),
    body(b"", status=500, x_should_retry="false"),
)
sent(
    "failure-that-is-a-bomb",
    Fails("openai.InternalServerError", "answered 500: 000"),
    body(gzip.compress(b"0" * 50_000_000), "text/plain", 500, Content_Encoding="gzip"),
)
sent(
    "redirect",
    Fails("openai.APIStatusError", "answered 307: it redirects to http://elsewhere.invalid/v1", 1),
    body(b"", status=307, Location="http://elsewhere.invalid/v1?key=abc"),
)
BEHAVIOURS["stream-options-unknown"] = Behaviour(
    Fails("openai.BadRequestError", "'options: {stream_options: null}' leaves it out", 1),
    body({"error": {"message": "Unknown parameter: 'stream_options'"}}, status=400),
)
