"""EMIT: what a node says while it runs goes to the log of its run, many notes in one write.

In: tokens, log records, events of a node's own. Out: notes appended in order, or a gap that says
how many are missing. Not here: what a chunk becomes (generators), readers.

One thread per process writes. The first note after a quiet time leaves at once; while one write is
under way the next ones gather, so that a write carries as many as came in its time. A node never
waits for a reader. It waits for the store for at most ``PATIENCE``, once; if the store is still
behind then, the oldest unwritten notes make room for new ones, and a gap stands in their place.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from flowcore.engine.values.store_writes import retry_write
from flowcore.errors import FlowcoreError
from flowcore.ports.store import AppendResult, AttemptRef, EventLog
from flowcore.run.event import EventType
from flowcore.run.node_event import Note
from flowcore.run.wire import pack

__all__ = ["EventBuffer", "Flusher"]

_log = logging.getLogger(__name__)

#: Seconds that a node waits for the store when its buffer is full.
PATIENCE = 0.05

#: Seconds for which the end of the thread is waited for.
_END_WITHIN = 2.0

#: Bytes of one write, more or less.
_WRITE = 256 * 2**10


class EventBuffer:
    """Events of one attempt; safe to use from several threads of it."""

    def __init__(
        self,
        events: EventLog,
        ticket: AttemptRef,
        *,
        size: int,
        flusher: "Flusher",
        before: Callable[[], object] | None = None,
    ) -> None:
        """Say nothing yet.

        Args:
            events: The log.
            ticket: The attempt.
            size: Notes that may wait to be written.
            flusher: Writes.
            before: Called before the first write.
        """
        self._events = events
        self._ticket = ticket
        self._size = size
        self._flusher = flusher
        self._before = before
        self._waiting: deque[tuple[float, Note]] = deque()
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._lost = 0
        self._batch: list[Note] = []
        """Is being written, or was not: then it is written again as it was, and counts once."""
        self._batches = 0
        self._behind = False
        """The store did not take a full buffer in time: nobody waits for it again until it does."""
        self._deaf = False
        """Nothing more will be heard of this attempt."""

    def say(self, note: Note) -> bool:
        """Have a note written soon; False when this attempt is not heard any more."""
        with self._changed:
            if not self._deaf and len(self._waiting) >= self._size:
                self._make_room()
            if self._deaf:
                return False
            self._waiting.append((time.monotonic(), note))
        self._flusher.wake(self)
        return True

    def make_way(self) -> None:
        """Write what waits if there is no room for more: who says this waits for the store.

        Raises:
            StoreUnreachableError: Nothing was written and nothing is forgotten; likewise others.
        """
        if len(self._waiting) >= self._size:
            self.write()

    def close(self) -> None:
        """Write what is left: called before the end of the attempt is recorded.

        Raises:
            StoreUnreachableError: The store stays out of reach.
            StoreFullError: It stays full.
        """
        retry_write(self.write)  # which also waits for a write that is under way
        while self._batch or self._waiting or self._lost:
            retry_write(self.write)

    def write(self) -> None:
        """Write what waits, in one go.

        Raises:
            StoreUnreachableError: Nothing was written and nothing is forgotten; likewise others.
        """
        with self._writing:
            if self._before is not None:
                self._before()
                self._before = None
            if not self._batch:
                self._batch = self._take()
                self._batches += 1
            if not self._batch:
                return
            heard = self._events.append(self._ticket, self._batch, number=self._batches)
            self._batch = []
            with self._changed:
                self._behind = False
                if heard is not AppendResult.HEARD:
                    self._deaf = True
                    self._waiting.clear()
                    self._lost = 0
                self._changed.notify_all()

    def _make_room(self) -> None:
        if not self._behind:
            self._flusher.wake(self)
            self._changed.wait_for(
                lambda: len(self._waiting) < self._size or self._deaf, timeout=PATIENCE
            )
        while len(self._waiting) >= self._size:
            self._behind = True
            self._forget()

    def _forget(self) -> None:
        """Let the oldest note go."""
        self._waiting.popleft()
        self._lost += 1

    def _take(self) -> list[Note]:
        taken: list[tuple[float, Note]] = []
        weight = 0
        with self._changed:
            while self._waiting and weight < _WRITE:
                taken.append(self._waiting.popleft())
                weight += len(taken[-1][1].packed)
            lost, self._lost = self._lost, 0
            self._changed.notify_all()
        return _notes(taken, lost)


def _notes(taken: list[tuple[float, Note]], lost: int) -> list[Note]:
    """Return the notes to write: lost ones came before the ones that were kept."""
    now = time.monotonic()
    notes = [replace(note, ago=now - said) for said, note in taken]
    if lost:
        gap: Mapping[str, Any] = {"lost": lost, "reason": "buffer"}
        notes.insert(0, Note(type=EventType.STREAM_GAP, packed=pack(gap)))
    return notes


class Flusher:
    """Writes for all attempts of a process, from one thread, while any of them speaks."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._due: dict[EventBuffer, None] = {}
        self._some = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False

    def close(self) -> None:
        """End the thread once all is written; whoever speaks afterwards starts a new one."""
        with self._some:
            thread, self._thread = self._thread, None
            self._closed = True
            self._some.notify()
        if thread is not None:
            thread.join(_END_WITHIN)

    def wake(self, emission: EventBuffer) -> None:
        """Have an attempt's notes written."""
        with self._some:
            if emission in self._due:
                return
            self._due[emission] = None
            if self._thread is None:
                self._closed = False
                self._thread = threading.Thread(
                    target=self._run, name="flowcore-emission", daemon=True
                )
                self._thread.start()
            self._some.notify()

    def _run(self) -> None:
        while True:
            with self._some:
                while not self._due and not self._closed:
                    self._some.wait()
                if not self._due:
                    return
                due, self._due = list(self._due), {}
            for emission in due:
                try:
                    emission.write()
                except FlowcoreError as error:
                    # Kept: written with the next note, or at the end of the attempt.
                    _log.warning("what a node said waits to be written: %s", error)
                except Exception:  # noqa: BLE001  (others are to be heard, too)
                    _log.exception("what a node said was not written")
