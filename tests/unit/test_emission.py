"""What a node says: in order, in few writes, and with a gap where the store did not keep up."""

import threading
from collections.abc import Sequence

import msgpack
import pytest

from flowcore.engine.attempts.event_emitter import EventBuffer, Flusher
from flowcore.errors import StoreUnreachableError
from flowcore.ports.store import AppendResult, AttemptRef
from flowcore.run.event import Event, EventType
from flowcore.run.node_event import Note

TICKET = AttemptRef(run="run", node=0, attempt=1)


class Log:
    """An event log that can be made to hang, to fail, and to hear nothing."""

    def __init__(self) -> None:
        self.writes: list[list[Note]] = []
        self.numbers: list[int] = []
        self.refused: list[tuple[int, list[Note]]] = []
        self.go = threading.Event()
        self.go.set()
        self.asked = threading.Event()
        self.down = False
        self.answer = AppendResult.HEARD

    def append(self, ticket: AttemptRef, notes: Sequence[Note], *, number: int) -> AppendResult:
        self.asked.set()
        assert self.go.wait(10)
        if self.down:
            self.refused.append((number, list(notes)))
            raise StoreUnreachableError("down")
        self.writes.append(list(notes))
        self.numbers.append(number)
        return self.answer

    def read(self, run: str, *, after: int = 0, block: float | None = None) -> Sequence[Event]:
        return ()

    def last(self, run: str) -> int:
        raise NotImplementedError

    def wait(self, run: str, *, timeout: float) -> bool:
        return True

    @property
    def said(self) -> list[object]:
        return [msgpack.unpackb(note.packed) for write in self.writes for note in write]


class Mute(Flusher):
    """Never writes: the test does."""

    def wake(self, emission: EventBuffer) -> None:
        pass


def note(number: int) -> Note:
    return Note(type=EventType.NODE_TOKEN, packed=msgpack.packb(number))


def emission(log: Log, *, size: int = 100, flusher: Flusher | None = None) -> EventBuffer:
    return EventBuffer(log, TICKET, size=size, flusher=flusher or Flusher())


def test_what_is_said_is_written_in_order_and_whole() -> None:
    log = Log()
    it = emission(log, size=5000)  # a machine that is busy loses none of them
    for number in range(5000):
        assert it.say(note(number))
    it.close()
    assert log.said == list(range(5000))


def test_the_first_note_leaves_at_once_and_others_gather_meanwhile() -> None:
    log = Log()
    log.go.clear()
    it = emission(log)
    it.say(note(0))
    assert log.asked.wait(10)
    for number in range(1, 50):
        it.say(note(number))
    log.go.set()
    it.close()
    assert log.said == list(range(50))
    assert len(log.writes) <= 3


def test_the_end_waits_for_a_write_that_is_under_way() -> None:
    log = Log()
    log.go.clear()
    it = emission(log)
    it.say(note(0))
    assert log.asked.wait(10)
    end = threading.Thread(target=it.close)
    end.start()
    end.join(0.05)
    assert end.is_alive(), "the note may still get lost"
    log.go.set()
    end.join(10)
    assert log.said == [0]


def test_a_store_that_hangs_costs_the_oldest_notes_and_a_gap_says_so() -> None:
    log = Log()
    it = emission(log, size=10, flusher=Mute())
    for number in range(35):
        assert it.say(note(number))
    it.close()
    assert log.said == [{"lost": 25, "reason": "buffer"}, *range(25, 35)]
    assert log.writes[0][0].type is EventType.STREAM_GAP


def test_a_node_waits_only_once_for_a_store_that_does_not_keep_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, waits = Log(), []
    it = emission(log, size=4, flusher=Mute())
    monkeypatch.setattr(it._changed, "wait_for", lambda *_, **__: waits.append(1))
    for number in range(100):
        it.say(note(number))
    assert len(waits) == 1
    it.write()
    for number in range(100):
        it.say(note(number))
    assert len(waits) == 2, "once it has kept up, it is given another chance"


def test_a_failed_write_keeps_what_it_was_to_write() -> None:
    log = Log()
    log.down = True
    it = emission(log, flusher=Mute())
    for number in range(3):
        it.say(note(number))
    with pytest.raises(StoreUnreachableError):
        it.write()
    it.say(note(3))
    log.down = False
    it.close()
    assert log.said == [0, 1, 2, 3]


def test_an_attempt_that_is_no_longer_valid_is_told_so() -> None:
    log = Log()
    log.answer = AppendResult.STALE
    it = emission(log, flusher=Mute())
    assert it.say(note(0))
    it.write()
    assert not it.say(note(1))
    it.close()
    assert log.said == [0]


def test_a_write_without_an_answer_is_repeated_as_it_was() -> None:
    log = Log()
    it = emission(log, flusher=Mute())
    it.say(note(0))
    it.write()
    log.down = True
    it.say(note(1))
    for number in (2, 3):
        with pytest.raises(StoreUnreachableError):
            it.write()
        it.say(note(number))
    log.down = False
    it.close()
    assert log.said == [0, 1, 2, 3]
    assert log.numbers == [1, 2, 3]
    assert log.refused == [(2, log.writes[1])] * 2, "it may have been heard: it must not differ"


def test_what_must_come_first_comes_first_and_once() -> None:
    log, order = Log(), []
    it = EventBuffer(
        log, TICKET, size=9, flusher=Mute(), before=lambda: order.append(len(log.writes))
    )
    it.say(note(0))
    it.write()
    it.say(note(1))
    it.close()
    assert order == [0]


def test_many_threads_of_a_node_may_speak() -> None:
    log = Log()
    it = emission(log, size=2000)
    threads = [
        threading.Thread(target=lambda at=at: [it.say(note(at * 1000 + n)) for n in range(500)])
        for at in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    it.close()
    for at in range(4):
        mine = [one for one in log.said if isinstance(one, int) and one // 1000 == at]
        assert mine == [at * 1000 + n for n in range(500)]
