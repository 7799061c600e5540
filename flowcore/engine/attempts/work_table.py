"""A table of the work that child processes are doing, in memory they share with their parent.

In: what a child writes of its own work. Out: what its parent reads of it. Not here: the decisions
(worker.liveness), reading a child's CPU time (worker.liveness), ending a child (backends).

A child that never releases the interpreter can say nothing: no thread of it runs, so it sends no
message and no command. What it wrote before it began is all that its parent knows of it.

Use it like this. The parent makes a ``WorkTable`` before it forks, with a record for each piece of
work that may run at once. A child takes one with ``table.take(index)`` and keeps it for life:

- ``open(...)`` once per message: the run, the unit, the plan (an agent writes its task as ``run``);
- ``begin(node)`` for each node: one ``pack_into``, about half a microsecond;
- ``arm(seconds)`` when a time limit begins, ``arm(None)`` when it ends; ``busy=True`` for work that
  may have to wait for the engine: then it counts only while the process is on the CPU;
- ``ask(now)`` when the work has been asked to end;
- ``fall()`` when the current node's function has failed for good and a fallback is called;
- ``flushed()`` when the nodes that have run are recorded;
- ``hold(places)`` when it has other places under limits than before;
- ``beat(now)`` from the thread that renews its leases: heard only while the interpreter is free;
- ``close()`` when the message is done.

The parent calls ``table.read(index)`` now and then, and ``table.last_words(pid)`` when a child has
died: what a record held is kept when the next child takes it. All times are on the monotonic clock,
which the processes of a machine share. One thread writes a record (``beat``, ``arm`` and ``ask``
may come from others: each writes one aligned number). A read that meets a write sees that by the
serial numbers, which are written first and last, and looks again; a record that stays torn reads as
``None``, and so does that of an idle child.
"""

import mmap
import os
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass

import msgpack

__all__ = ["MOST_NODES", "RunningWork", "WorkRecord", "WorkTable"]

#: Nodes that a record holds between two calls of ``flushed``.
MOST_NODES = 512

#: Heartbeat, deadline, time of the request to end, serial of the first entry, process id, serial of
#: the node whose start the parent has recorded, serial of the node whose fallback was called.
_HEAD = struct.Struct("=dddQqQQ")
_NUMBER = struct.Struct("=d")
_SERIAL = struct.Struct("=Q")
_HEARTBEAT, _DEADLINE, _ASKED, _FIRST, _TOLD, _FELL = 0, 8, 16, 24, 40, 48
_PID = 4

#: Serial, losses and attempts before, whether it was deferred, lengths of run, unit and plan, turn.
_ABOUT = struct.Struct("=QiiHHHHi")
_ABOUT_AT = _HEAD.size
_TEXT_AT = _ABOUT_AT + _ABOUT.size
_TEXT = 2000
_ABOUT_END = _TEXT_AT + _TEXT

#: Serial and length of the places under limits that are held; then they, and the serial again.
_PLACES = struct.Struct("=QH6x")
_PLACES_AT = _ABOUT_END + _SERIAL.size
_PLACES_TEXT = 1000
_PLACES_END = _PLACES_AT + _PLACES.size + _PLACES_TEXT

#: Serial, node, attempt, start, serial.
_ENTRY = struct.Struct("=QiidQ")
_ENTRY_SIZE = _ENTRY.size
#: Called for each node.
_pack_entry = _ENTRY.pack_into
_ENTRIES_AT = _PLACES_END + _SERIAL.size
_SIZE = _ENTRIES_AT + MOST_NODES * _ENTRY.size

_READS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningWork:
    """The work of one child, as its parent has read it."""

    pid: int
    heartbeat: float
    """When its own heartbeat was last heard."""
    run: str
    unit: str
    """The unit that it runs; empty for a node with a message of its own."""
    plan: str
    """The hash of the run's plan."""
    lost: int
    """Earlier attempts that ended with the loss of their worker."""
    before: int
    """Attempts made before the run was resumed."""
    deferred: bool
    """Whether the attempt has failed in another process, and this one decides what comes of it."""
    fallen: bool
    """Whether a fallback of the node was called."""
    serial: int
    """Never the same for two nodes of one record."""
    node: int
    attempt: int
    turn: int
    """Which turn of the attempt this is: see ``AttemptRef``."""
    started: float
    deadline: float | None
    """When the time limit of what it does ends."""
    busy: bool
    """Whether that limit is for time on the CPU: it may also wait for the store."""
    asked: float | None
    """When it was asked to end."""
    places: tuple[tuple[str, str], ...]
    """The places that it holds under limits: their names, and those of their holders."""
    ran: tuple[int, ...]
    """Nodes of the unit that have run and are not recorded yet."""

    @property
    def begun(self) -> tuple[int, ...]:
        """The nodes of the unit that were begun and are not recorded yet."""
        return (*self.ran, self.node)


class WorkTable:
    """Records in an anonymous shared mapping; pages that nobody writes cost nothing."""

    def __init__(self, records: int) -> None:
        """Make it before the fork; ``records`` is how many pieces of work may run at once."""
        self._count = records
        # The second half is for the last words of those whose records others have by now.
        self._memory = mmap.mmap(-1, 2 * records * _SIZE)

    def __len__(self) -> int:
        """Return the number of records."""
        return self._count

    def take(self, index: int) -> "WorkRecord | None":
        """Take a record for the life of this process; None when there is none of this number."""
        if not 0 <= index < self._count:
            return None
        base, kept = index * _SIZE, (index + self._count) * _SIZE
        if _pid_in(self._memory, base):
            self._memory[kept : kept + _SIZE] = self._memory[base : base + _SIZE]
        return WorkRecord(self._memory, base)

    def last_words(self, pid: int) -> RunningWork | None:
        """Read what a process that is dead was doing; None when it did nothing, or nobody knows."""
        for at in range(2 * self._count):
            if _pid_in(self._memory, at * _SIZE) == pid:
                return _read(self._copy(at))
        return None

    def tell(self, index: int, serial: int) -> None:
        """Let the child know that the start of this node is recorded."""
        _SERIAL.pack_into(self._memory, index * _SIZE + _TOLD, serial)

    def read(self, index: int) -> RunningWork | None:
        """Read a record; None when nothing runs, or when it is being written all the time."""
        for _ in range(_READS):
            copy = self._copy(index)
            found = _read(copy)
            # What was caught half-written carries its serial at both ends if its end was read after
            # it was finished; in a second copy it is whole, and so another one.
            if found is not None and _used(copy, found) == _used(self._copy(index), found):
                return found
        return None

    def _copy(self, index: int) -> bytes:
        base = index * _SIZE
        return self._memory[base : base + _SIZE]


class WorkRecord:
    """The record of a child, written by this child alone."""

    def __init__(self, memory: mmap.mmap, base: int) -> None:
        """Clear the record: whoever had it before is dead."""
        self._memory = memory
        self._base = base
        self._entries = base + _ENTRIES_AT
        # The serials of a dead owner may stand in old entries: go on behind all of them.
        (self._serial,) = _SERIAL.unpack_from(memory, base + _FIRST)
        self._serial += MOST_NODES + 1
        (self._places,) = _SERIAL.unpack_from(memory, base + _PLACES_AT)
        self._at = self._next = 0
        self._current: tuple[int, int, float] | None = None
        _HEAD.pack_into(memory, base, time.monotonic(), 0.0, 0.0, self._serial, os.getpid(), 0, 0)
        self.hold(())
        self.close()

    def open(
        self,
        run: str,
        *,
        plan: str,
        unit: str = "",
        past: tuple[int, int, bool] = (0, 0, False),
        turn: int = 0,
    ) -> None:
        """Say what the following nodes belong to.

        Args:
            run: The run.
            plan: The hash of its plan.
            unit: The unit; empty for a node with a message of its own.
            past: Of such a node: ``lost``, ``before`` and ``deferred`` of ``RunningWork``.
            turn: Of such a node: which turn of its attempt this is.
        """
        texts = [text.encode() for text in (run, unit, plan)]
        joined = b"".join(texts)
        memory, base = self._memory, self._base
        serial = self._serial = self._serial + 1
        if len(joined) > _TEXT:
            # Nobody can act on half a name: without a second serial the work is not watched.
            _ABOUT.pack_into(memory, base + _ABOUT_AT, serial, *past, 0, 0, 0, 0)
            self.close()
            return
        _ABOUT.pack_into(memory, base + _ABOUT_AT, serial, *past, *map(len, texts), turn)
        memory[base + _TEXT_AT : base + _TEXT_AT + len(joined)] = joined
        _SERIAL.pack_into(memory, base + _ABOUT_END, serial)
        _NUMBER.pack_into(memory, base + _ASKED, 0.0)
        self.beat(time.monotonic())
        # Last: who reads the new serial of the first entry reads all of the above, too.
        self._restart()

    def begin(self, node: int, attempt: int = 1, started: float | None = None) -> None:
        """Say that a node begins; those before it have run.

        Call ``flushed`` at least every ``MOST_NODES`` nodes: older ones are forgotten.
        """
        if self._at == MOST_NODES:
            self._restart()
        serial = self._serial = self._serial + 1
        now = time.monotonic() if started is None else started
        self._current = (node, attempt, now)
        _pack_entry(self._memory, self._next, serial, node, attempt, now, serial)
        self._at += 1
        self._next += _ENTRY_SIZE

    def flushed(self) -> None:
        """Say that the nodes before the current one are recorded."""
        if self._at <= 1:
            return
        current = self._current
        self._restart()
        if current is not None:
            node, attempt, started = current
            self.begin(node, attempt, started)

    @property
    def is_told(self) -> bool:
        """True if the parent has recorded the start of the current node."""
        (serial,) = _SERIAL.unpack_from(self._memory, self._base + _TOLD)
        return bool(serial == self._serial)

    def arm(self, seconds: float | None, *, busy: bool = False) -> None:
        """Say when the time limit of what is done now ends."""
        due = time.monotonic() + seconds if seconds else 0.0
        if busy:
            due = -due
        _NUMBER.pack_into(self._memory, self._base + _DEADLINE, due)

    def hold(self, places: Iterable[tuple[str, str]]) -> None:
        """Say which places are held; more than there is room for are not renewed by the parent."""
        packed = msgpack.packb(list(places))
        if len(packed) > _PLACES_TEXT:
            packed = msgpack.packb([])
        memory, base = self._memory, self._base
        serial = self._places = self._places + 1
        at = base + _PLACES_AT
        _PLACES.pack_into(memory, at, serial, len(packed))
        memory[at + _PLACES.size : at + _PLACES.size + len(packed)] = packed
        _SERIAL.pack_into(memory, base + _PLACES_END, serial)

    def ask(self, now: float) -> None:
        """Say that the work was asked to end."""
        _NUMBER.pack_into(self._memory, self._base + _ASKED, now)

    def fall(self) -> None:
        """Say that a fallback of the current node is called: nobody is to call it again."""
        _SERIAL.pack_into(self._memory, self._base + _FELL, self._serial)

    def beat(self, now: float) -> None:
        """Let the parent hear this process."""
        _NUMBER.pack_into(self._memory, self._base + _HEARTBEAT, now)

    def close(self) -> None:
        """Say that nothing runs."""
        self.arm(None)
        self._current = None
        self._restart()

    def _restart(self) -> None:
        """Begin the entries anew: those that stand there count no more."""
        self._at, self._next = 0, self._entries
        _SERIAL.pack_into(self._memory, self._base + _FIRST, self._serial + 1)


def _read(text: bytes) -> RunningWork | None:
    """Read a copy of a record; None when nothing runs, or when it was written meanwhile."""
    heartbeat, deadline, asked, first, pid, _, fell = _HEAD.unpack_from(text)
    entries: list[tuple[int, int, int, float, int]] = []
    while len(entries) < MOST_NODES:
        entry = _ENTRY.unpack_from(text, _ENTRIES_AT + len(entries) * _ENTRY.size)
        if entry[0] != first + len(entries):
            break
        entries.append(entry)
    about = _ABOUT.unpack_from(text, _ABOUT_AT)
    places_serial, places_size = _PLACES.unpack_from(text, _PLACES_AT)
    if places_serial != _SERIAL.unpack_from(text, _PLACES_END)[0]:
        return None
    whole = about[0] == _SERIAL.unpack_from(text, _ABOUT_END)[0] and about[0] < first
    if not (pid and entries and whole):
        return None
    serial, node, attempt, started, again = entries[-1]
    if serial != again:
        return None
    _, lost, before, deferred, *sizes, turn = about
    run, unit, plan = _texts(text, sizes)
    return RunningWork(
        pid=pid,
        heartbeat=heartbeat,
        run=run,
        unit=unit,
        plan=plan,
        lost=lost,
        before=before,
        deferred=bool(deferred),
        fallen=fell == serial,
        serial=serial,
        node=node,
        attempt=attempt,
        turn=turn,
        started=started,
        deadline=abs(deadline) or None,
        busy=deadline < 0,
        asked=asked or None,
        places=_places(text, places_size),
        ran=tuple(entry[1] for entry in entries[:-1]),
    )


def _pid_in(memory: mmap.mmap, base: int) -> int:
    pid: int = _HEAD.unpack_from(memory, base)[_PID]
    return pid


def _used(text: bytes, work: RunningWork) -> tuple[bytes, bytes]:
    """The parts of a copy that say what the work is."""
    entries = len(work.ran) + 1
    return text[_FIRST:_TOLD], text[_ABOUT_AT : _ENTRIES_AT + entries * _ENTRY.size]


def _places(text: bytes, size: int) -> tuple[tuple[str, str], ...]:
    at = _PLACES_AT + _PLACES.size
    return tuple((name, holder) for name, holder in msgpack.unpackb(text[at : at + size]))


def _texts(text: bytes, sizes: list[int]) -> list[str]:
    found, at = [], _TEXT_AT
    for size in sizes:
        found.append(text[at : at + size].decode("utf-8", "replace"))
        at += size
    return found
