"""A run's events as server-sent events, for any web framework.

In: a run's handle. Out: bytes to send as ``text/event-stream``. A browser that reconnects sends the
id of the last event it has seen (``Last-Event-ID``), and goes on there. Source: the HTML standard,
section 9.2.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

from flowcore.client.following import Following
from flowcore.errors import UsageError
from flowcore.run.event import Event

__all__ = ["MEDIA_TYPE", "encode_event", "sse"]

MEDIA_TYPE = "text/event-stream"


async def sse(run: Following, *, last_event_id: str | int | None = None) -> AsyncIterator[bytes]:
    """Give a run's events as they come, until it has ended.

    ::

        @app.get("/runs/{id}/events")                       # FastAPI, Starlette
        async def events(id: str, request: Request):
            last = request.headers.get("Last-Event-ID")
            return StreamingResponse(sse(Run(id), last_event_id=last), media_type=MEDIA_TYPE)

    A page of events is sent as one piece, so that a slow client is a slow reader, and holds no more
    than a page. Each second without an event a comment is sent, by which a server notices that its
    client has gone.

    Args:
        run: The run.
        last_event_id: What the client has seen: the header, as it is.

    Raises:
        RunNotFoundError: No run has this id.
        UsageError: The id is no number.
    """
    async for page in run.pages(after=_number(last_event_id)):
        yield b"".join(map(encode_event, page)) or b": \n\n"


def encode_event(event: Event) -> bytes:
    """Spell one event; its data is one line of JSON."""
    data = {
        "run": event.run,
        "type": event.type.value,
        "time": event.time,
        "nodes": event.nodes,
        "attempt": event.attempt,
        "data": event.data,
    }
    text = json.dumps(data, default=_plain, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event.id}\nevent: {event.type.value}\ndata: {text}\n\n".encode()


def _plain(value: Any) -> Any:
    """JSON has no bytes: they are shown, not carried."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else repr(value)


def _number(given: str | int | None) -> int:
    if given is None or given == "":
        return 0
    try:
        return max(0, int(given))
    except ValueError:
        msg = f"Last-Event-ID is the number of an event, got {given!r}"
        raise UsageError(msg) from None
