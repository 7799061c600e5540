"""Models that misbehave: what their servers send, and what has to come of it.

In: nothing. Out: one Behaviour for each row of the table in docs/reference/http-and-llm.md. Most
are of public reports, which the table names.
"""

import gzip
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.misbehaving import Asked, Line, Page

__all__ = ["BEHAVIOURS", "Behaviour", "Fails", "Gives", "plain_answer"]


@dataclass(frozen=True, slots=True)
class Gives:
    """The node succeeds, and its output has these members."""

    output: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fails:
    """The node fails with an error of this type, whose words match; after so many attempts of 2."""

    type: str
    words: str
    attempts: int = 2


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One way to misbehave.

    Attributes:
        streamed: What the server sends if it is asked for a stream; None: the same as not.
        whole: What it sends otherwise; None: the same as streamed.
        outcome: What has to come of it, streamed or not.
        given: Arguments of the node beside those of each test.
    """

    outcome: Gives | Fails
    streamed: Page | None = None
    whole: Page | None = None
    given: Mapping[str, Any] = field(default_factory=dict)

    def page(self, line: Line, asked: Asked) -> None:
        first, other = self.streamed, self.whole
        chosen = (first or other) if asked.json.get("stream") else (other or first)
        assert chosen is not None
        chosen(line, asked)


BEHAVIOURS: dict[str, Behaviour] = {}

FAILED = "AnswerError"
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def chunk(delta: Any = None, finish: str | None = None, index: int = 0, **more: Any) -> Any:
    choices = [{"index": index, "delta": delta or {}, "finish_reason": finish}]
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": choices, **more}


def event(value: Any, end: str = "\n") -> bytes:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"data: {text}{end}{end}".encode()


def events(*values: Any, done: bool = True, end: str = "\n") -> bytes:
    parts = [value if isinstance(value, bytes) else event(value, end) for value in values]
    return b"".join([*parts, event("[DONE]", end) if done else b""])


def stream(*values: Any, done: bool = True) -> Page:
    return sends(events(*values, done=done), "text/event-stream")


def sends(data: bytes, kind: str | None, status: int = 200, **headers: str) -> Page:
    """Send bytes, and close the connection."""

    def page(line: Line, _: Asked) -> None:
        line.head(status, kind, **headers)
        line.write(data)

    return page


def plain_answer(message: Any, finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice], **more}


def whole(message: Any = None, finish: str | None = "stop", **more: Any) -> Page:
    body = json.dumps(plain_answer({"role": "assistant", **(message or {})}, finish, **more))
    return lambda line, _: line.reply(body.encode(), kind="application/json")


def body(value: Any, kind: str = "application/json", status: int = 200, **headers: str) -> Page:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return lambda line, _: line.reply(data, kind=kind, status=status, **headers)


def said(
    name: str,
    outcome: Gives | Fails,
    *deltas: Any,
    message: Any = None,
    finish: str | None = "stop",
    **given: Any,
) -> None:
    """Add a behaviour of which both ways say the same."""
    values = [*map(chunk, deltas), chunk({}, finish, usage=USAGE)]
    kept = message if message is not None else (deltas[0] if deltas else {})
    BEHAVIOURS[name] = Behaviour(outcome, stream(*values), whole(kept, finish, usage=USAGE), given)


def sent(name: str, outcome: Gives | Fails, page: Page, **given: Any) -> None:
    """Add a behaviour that is the same, whatever was asked."""
    BEHAVIOURS[name] = Behaviour(outcome, page, None, given)


def call(index: int | None, arguments: Any, name: str | None = None, id: str | None = None) -> Any:
    found: dict[str, Any] = {"function": {"arguments": arguments}}
    if name is not None:
        found["function"]["name"] = name
    if id is not None:
        found |= {"id": id, "type": "function"}
    return found if index is None else {"index": index, **found}


def tools(*calls: Any) -> dict[str, Any]:
    return {"tool_calls": list(calls)}


def called(*calls: tuple[str | None, str, str]) -> Gives:
    found = [
        {
            "id": id_,
            "type": "function",
            "function": {"name": name, "arguments": arguments},
            "name": name,
            "args": json.loads(arguments or "{}"),
        }
        for id_, name, arguments in calls
    ]
    return Gives({"text": None, "tool_calls": found})


# ── what a model may say beside text ────────────────────────────────────────────────────────────

ROME, OSLO = '{"city": "Rome"}', '{"city": "Oslo"}'
FIRST = tools(call(None, ROME, "weather", "c1"))
BOTH = tools(call(None, ROME, "weather", "c1"), call(None, OSLO, "time", "c2"))
TWO = called(("c1", "weather", ROME), ("c2", "time", OSLO))

said("text", Gives({"text": "Hello", "usage": USAGE, "model": "m"}), {"content": "Hello"})
said(
    "tool-call-in-pieces",
    called(("c1", "weather", ROME)),
    {"role": "assistant", "content": None, **tools(call(0, "", "weather", "c1"))},
    tools(call(0, '{"city": ')),
    tools(call(0, '"Rome"}')),
    message={"content": None, **FIRST},
    finish="tool_calls",
)
said(
    "tool-calls-interleaved",
    TWO,
    tools(call(0, "", "weather", "c1"), call(1, "", "time", "c2")),
    tools(call(1, OSLO[:5]), call(0, ROME[:7])),
    tools(call(0, ROME[7:]), call(1, OSLO[5:])),
    message=BOTH,
    finish="tool_calls",
)
said(
    "tool-calls-all-of-index-0",
    TWO,
    tools(call(0, ROME, "weather", "c1")),
    tools(call(0, OSLO, "time", "c2")),
    message=BOTH,
    finish="tool_calls",
)
said(
    "tool-calls-without-index",
    TWO,
    tools(call(None, ROME[:7], "weather", "c1")),
    tools(call(None, ROME[7:])),
    tools(call(None, OSLO, "time", "c2")),
    message=BOTH,
    finish="tool_calls",
)
said(
    "tool-calls-without-id",
    called((None, "weather", ROME), (None, "weather", OSLO)),
    tools(call(0, ROME, "weather")),
    tools(call(0, OSLO, "weather")),
    message=tools(call(None, ROME, "weather"), call(None, OSLO, "weather")),
    finish="stop",
)
said(
    "tool-name-in-each-piece",
    called(("c1", "weather", ROME)),
    tools(call(0, ROME[:7], "weather", "c1")),
    tools(call(0, ROME[7:], "weather", "c1")),
    message=FIRST,
    finish="tool_calls",
)
said(
    "tool-arguments-empty",
    called(("c1", "now", "")),
    tools(call(0, "", "now", "c1")),
    finish="tool_calls",
)
said(
    "tool-arguments-as-mapping",
    called(("c1", "weather", ROME)),
    tools(call(0, {"city": "Rome"}, "weather", "c1")),
    finish="tool_calls",
)
said(
    "tool-arguments-cut",
    Fails(FAILED, "for 'weather' with arguments that are not a JSON object: '{\"city\": \"Ro'"),
    tools(call(0, ROME[:12], "weather", "c1")),
    finish="tool_calls",
)
said(
    "tool-arguments-cut-accepted",
    Gives({"text": None, "finish_reason": "tool_calls"}),
    tools(call(0, ROME[:12], "weather", "c1")),
    finish="tool_calls",
    accept=["invalid_arguments"],
)
said(
    "tool-arguments-no-mapping",
    Fails(FAILED, "arguments that are not a JSON object"),
    tools(call(0, "[1]", "weather", "c1")),
    finish="tool_calls",
)
said(
    "tool-without-name",
    Fails(FAILED, "asked for a tool without a name"),
    tools(call(0, ROME, None, "c1")),
    finish="tool_calls",
)
said(
    "tool-calls-that-are-none",
    Fails(FAILED, "asked for tools, and the answer names none"),
    {"content": "I will call"},
    finish="tool_calls",
)
said(
    "function-call-of-old",
    called((None, "weather", ROME)),
    {"function_call": {"name": "weather", "arguments": ""}},
    {"function_call": {"arguments": ROME}},
    message={"content": None, "function_call": {"name": "weather", "arguments": ROME}},
    finish="function_call",
)
said("refusal", Fails(FAILED, "the model refused: 'I cannot'", 1), {"refusal": "I cannot"})
said(
    "refusal-accepted",
    Gives({"text": None, "refusal": "I cannot"}),
    {"refusal": "I "},
    {"refusal": "cannot"},
    message={"content": None, "refusal": "I cannot"},
    accept=["refusal"],
)
for key in ("reasoning_content", "reasoning", "thinking"):
    said(
        f"thought-under-{key}",
        Gives({"text": "42", "reasoning": "Six by seven"}),
        {key: "Six "},
        {key: "by seven"},
        {"content": "42"},
        message={key: "Six by seven", "content": "42"},
    )
said(
    "thought-under-two-names",
    Gives({"text": "42", "reasoning": "Hm"}),
    {"reasoning": "Hm", "reasoning_content": "Hm", "content": None},
    {"content": "42"},
    message={"reasoning": "Hm", "reasoning_content": "Hm", "content": "42"},
)
said(
    "thought-and-nothing-else",
    Fails(FAILED, "the answer says nothing, though the model has thought"),
    {"reasoning_content": "Hm", "content": ""},
)
said("nothing", Fails(FAILED, "the answer says nothing"), {"content": ""})
said("only-spaces", Fails(FAILED, "the answer says nothing"), {"content": " \n"})
said("nothing-accepted", Gives({"text": ""}), {"content": ""}, accept=["empty"])
said(
    "content-in-parts",
    Gives({"text": "42", "reasoning": "Hm"}),
    {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]},
    {"content": [{"type": "text", "text": "42"}]},
    message={
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
            {"type": "text", "text": "42"},
        ]
    },
)
said(
    "more-than-is-known",
    Gives({"text": "x", "extra": {"annotations": [{"url": "a"}]}}),
    {"content": "x", "annotations": [{"url": "a"}]},
)
said(
    "thought-that-is-no-text",
    Gives({"text": "x", "reasoning": None, "extra": {"reasoning": {"summary": "Hm"}}}),
    {"content": "x", "reasoning": {"summary": "Hm"}},
)
said("content-no-text", Fails(FAILED, "the content of the message is not text: 5"), {"content": 5})

# ── how it may end ──────────────────────────────────────────────────────────────────────────────

PART = {"content": "The capital is"}
said(
    "end-length",
    Fails(FAILED, "cut off at the limit of tokens .* after 'The capital is'", 1),
    PART,
    finish="length",
)
said(
    "end-length-accepted",
    Gives({"text": "The capital is", "finish_reason": "length"}),
    PART,
    finish="length",
    accept=["length"],
)
said("end-filtered", Fails(FAILED, "the answer was filtered", 1), PART, finish="content_filter")
said("end-error", Fails(FAILED, "ended early .finish_reason 'error'"), PART, finish="error")
said("end-unknown", Fails(FAILED, "ended early"), PART, finish="insufficient_system_resource")
said("end-null", Gives({"text": "The capital is", "finish_reason": None}), PART, finish=None)
said("end-empty", Gives({"text": "The capital is", "finish_reason": None}), PART, finish="")


def _without_finish(line: Line, asked: Asked) -> None:
    answer = re.sub(rb', "finish_reason": null', b"", events(chunk(PART)))
    sends(answer, "text/event-stream")(line, asked)


sent("end-without-finish-reason", Gives({"text": "The capital is"}), _without_finish)
sent(
    "end-without-done", Gives({"text": "Hi"}), stream(chunk({"content": "Hi"}, "stop"), done=False)
)
NO_END = Fails(FAILED, "the stream ends without its end")
sent("cut-between-events", NO_END, stream(chunk(PART), done=False))
sent(
    "cut-in-an-event",
    Fails(FAILED, "an event of the stream is cut off, or not JSON"),
    sends(events(chunk(PART), done=False) + event(chunk(PART))[:40], "text/event-stream"),
)
sent("cut-in-the-document", Fails(FAILED, "cut off, or not JSON"), body(b'{"choices": [{"mess'))


def _cut_in_a_chunk(line: Line, _: Asked) -> None:
    line.head(200, "text/event-stream", Transfer_Encoding="chunked")
    line.chunk(event(chunk(PART)))
    line.write(b"fff\r\ndata: {")


def _cut_after_a_chunk(line: Line, _: Asked) -> None:
    line.head(200, "text/event-stream", Transfer_Encoding="chunked")
    line.chunk(event(chunk(PART, "stop")))


def _cut_in_the_status(line: Line, _: Asked) -> None:
    line.write(b"HTTP/1.1 2")


BROKEN = Fails("openai.APIConnectionError", "/v1/chat/completions: the answer was cut off")
sent("cut-in-a-chunk", BROKEN, _cut_in_a_chunk)
sent("cut-before-the-last-chunk", BROKEN, _cut_after_a_chunk)
sent(
    "cut-before-its-length",
    BROKEN,
    sends(json.dumps(plain_answer(PART)).encode(), "application/json", Content_Length="9999"),
)
GONE = Fails("openai.APIConnectionError", "/v1/chat/completions: Server disconnected")
sent("cut-before-the-headers", GONE, _cut_in_the_status)
GZIP = gzip.compress(events(chunk(PART), chunk({}, "stop")))
sent("compressed", Gives({"text": "The capital is"}), body(GZIP, Content_Encoding="gzip"))
sent(
    "cut-and-compressed",
    Fails(FAILED, "ends in the middle of what gzip has compressed|ends without its end"),
    body(GZIP[:-12], Content_Encoding="gzip"),
)
sent(
    "compressed-otherwise",
    Fails(FAILED, "in the encoding 'br'", 1),
    body(b"\x0b\x02\x80hello\x03", Content_Encoding="br"),
)

# ── errors after a 200 ──────────────────────────────────────────────────────────────────────────

ERROR = {"error": {"message": "overloaded", "type": "server_error", "code": 502}}
TOLD = Fails("openai.APIError", "answered with an error: overloaded")
said_error: Callable[..., None] = lambda name, *values, done=True: sent(  # noqa: E731
    name, TOLD, stream(*values, done=done)
)
sent("error-as-document", TOLD, body(ERROR))
said_error("error-first", ERROR, done=False)
said_error("error-in-the-middle", chunk(PART), ERROR)
said_error("error-beside-a-choice", chunk(PART), {**chunk({}, "error"), **ERROR})
said_error("error-in-a-choice", {"choices": [{"index": 0, "delta": {}, **ERROR}]})
said_error("error-as-text", chunk(PART), {"error": "overloaded"})
said_error("error-event", chunk(PART), b'event: error\ndata: {"message": "overloaded"}\n\n')
said_error("error-event-of-text", chunk(PART), b"event: error\ndata: overloaded\n\n")
sent("error-object", TOLD, body({"object": "error", "message": "overloaded", "code": 503}))
sent(
    "error-detail",
    Fails("openai.APIError", "with an error: .*no such"),
    body({"detail": "no such"}),
)
sent(
    "error-for-good",
    Fails("openai.APIError", "answered with an error: wrong key", 1),
    body({"error": {"message": "wrong key", "code": 401}}),
)
said("error-null", Gives({"text": "Hi"}), {"content": "Hi"})
BEHAVIOURS["error-null"] = Behaviour(
    Gives({"text": "Hi"}),
    stream({**chunk({"content": "Hi"}, "stop"), "error": None}),
    whole({"content": "Hi"}, error=None),
)
