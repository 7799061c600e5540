"""A run's events as server-sent events, for any web framework.

In: a run's handle. Out: bytes to send as ``text/event-stream``. A browser that reconnects sends the
id of the last event it has seen (``Last-Event-ID``), and goes on there. Source: the HTML standard,
section 9.2.
"""

from collections.abc import AsyncIterator

from flowcore.client.streaming import RunStreaming, check_event_id
from flowcore.client.threads import in_thread
from flowcore.errors import UsageError
from flowcore.json_text import json_text
from flowcore.run.event import Event

__all__ = ["MEDIA_TYPE", "encode_event", "open_sse", "sse"]

MEDIA_TYPE = "text/event-stream"

#: Digits of the largest id.
_LONGEST = 19


async def open_sse(
    run: RunStreaming, *, last_event_id: str | int | None = None
) -> AsyncIterator[bytes] | None:
    """Look whether a run has more events for a client, before anything is answered.

    ::

        @app.get("/runs/{id}/events")                       # FastAPI, Starlette
        async def events(id: str, request: Request):
            events = await open_sse(Run(id), last_event_id=request.headers.get("Last-Event-ID"))
            if events is None:
                return Response(status_code=204)
            return StreamingResponse(events, media_type=MEDIA_TYPE)

    A browser's ``EventSource`` reconnects each time that a response ends, the one with the last
    event included. Only the status 204 (No Content) makes it stop.

    Args:
        run: The run.
        last_event_id: What the client has seen: the header, as it is.

    Returns:
        What ``sse`` gives; None when the run has ended and the client has seen all of it: answer
        with 204.

    Raises:
        RunNotFoundError: No run has this id; answer with 404.
        UsageError: The id is no number, or the run goes on and has no such event yet; answer with
            400.
    """
    after = _number(last_event_id)
    if await in_thread(run.is_read, after):
        return None
    return sse(run, last_event_id=after)


async def sse(run: RunStreaming, *, last_event_id: str | int | None = None) -> AsyncIterator[bytes]:
    """Give a run's events as they come, until it has ended.

    Without a look beforehand (``open_sse``) errors come when the response has begun. Of a run that
    has ended, and that the client has seen to its end, it gives nothing.

    A page of events is sent as one piece, so that a slow client is a slow reader, and holds no more
    than a page. Each second without an event a comment is sent, by which a server notices that its
    client has gone.

    Args:
        run: The run.
        last_event_id: What the client has seen: the header, as it is.

    Raises:
        RunNotFoundError: No run has this id.
        UsageError: The id is no number, or the run goes on and has no such event yet.
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
    text = json_text(data, compact=True)
    return f"id: {event.id}\nevent: {event.type.value}\ndata: {text}\n\n".encode()


def _number(given: str | int | None) -> int:
    if given is None or given == "":
        return 0
    # int() would take signs, blanks, '1_000' and the digits of other scripts.
    if isinstance(given, str) and given.isascii() and given.isdecimal() and len(given) <= _LONGEST:
        given = int(given)
    if isinstance(given, str):
        msg = f"Last-Event-ID is the number of an event, got {given[:80]!r}"
        raise UsageError(msg)
    check_event_id(given)
    return given
