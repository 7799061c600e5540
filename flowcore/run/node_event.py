"""Events that a node emits while it runs: tokens, log records, events of its own.

In: what was said. Out: notes, and their wire form: many notes are one entry of a run's log.
Not here: when they are written (engine.attempts.event_emitter).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgpack

from flowcore.run.event import Event, EventType
from flowcore.run.wire import unpack

__all__ = ["MOST_SAID", "Note", "events_of", "pack_notes"]

#: Bytes that the nodes of one run may say in all.
MOST_SAID = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A node's output before it becomes an event."""

    type: EventType
    """One of ``NODE_EMITTED``, ``NODE_TOKEN``, ``NODE_LOG``, ``NODE_FALLBACK``, ``NODE_CACHED``,
    ``NODE_CIRCUIT`` and ``STREAM_GAP``."""
    packed: bytes
    """msgpack of the event's data."""
    ago: float = 0.0
    """Seconds since it was said."""


def pack_notes(notes: Sequence[Note]) -> bytes:
    """Put notes into one entry."""
    packed: bytes = msgpack.packb(
        [(note.type.value, round(note.ago * 1000), note.packed) for note in notes]
    )
    return packed


def events_of(
    packed: bytes, *, run: str, node: str, attempt: int, last: int, now: int
) -> list[Event]:
    """Read the notes of an entry as events.

    Args:
        packed: What ``pack_notes`` wrote.
        run: The run's id.
        node: The node that said them.
        attempt: In which attempt.
        last: The id of the last of them.
        now: When the entry was written, in ms.
    """
    notes = msgpack.unpackb(packed)
    return [
        Event(
            id=last - len(notes) + 1 + at,
            type=EventType(kind),
            run=run,
            time=(now - ago) / 1000,
            nodes=(node,),
            attempt=attempt,
            data=unpack(data),
        )
        for at, (kind, ago, data) in enumerate(notes)
    ]
