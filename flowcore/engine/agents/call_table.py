"""The calls of an agent process, in memory that its supervisor reads.

In: calls that begin and end. Out: records of the table of running work. Not here: the decisions.

The first record is the process, whose node number says how many records are in use; the second is
its loop, with its thread as the node; each of the others is a call: its task is the ``run``, its
token the ``node``, its thread the ``attempt``, its agent the ``plan``, its timeout the ``unit``,
the errors before it are ``lost`` (-1: its last try).
"""

import threading
import time
from dataclasses import dataclass

from flowcore.engine.attempts.work_table import RunningWork, WorkRecord, WorkTable
from flowcore.ports.agents import TaskLease

__all__ = [
    "ON_LOOP",
    "RECORDS",
    "AgentCall",
    "CallRecords",
    "agent_calls",
    "loop_record",
    "process_record",
]

#: Calls of one process that are watched; those beyond only renew their leases themselves.
RECORDS = 1024
_PROCESS, _LOOP, _FIRST = 0, 1, 2
#: Stands for the thread of a call that has none of its own.
ON_LOOP = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCall:
    """A call, as the supervisor has read it."""

    hold: TaskLease
    agent: str
    timeout: str
    """In seconds, as people read it."""
    thread: int
    """The kernel's number of its thread, or ``ON_LOOP``."""
    tries: int | None
    """Errors before it; None when another one is its task's end."""
    work: RunningWork


class CallRecords:
    """Writes the records of this process; used from several threads."""

    def __init__(self, table: WorkTable | None) -> None:
        """Take the records of a table; without one nobody watches."""
        self._lock = threading.Lock()
        self._table = table
        self._free = list(range(len(table) - 1, _FIRST - 1, -1)) if table else []
        self._records: dict[int, WorkRecord] = {}
        self._calls: dict[TaskLease, int] = {}
        self._process = self._named(_PROCESS)
        self._loop = self._named(_LOOP)
        self._highest = 0
        self._count(_FIRST)

    @classmethod
    def none(cls) -> "CallRecords":
        """Return records that nobody reads."""
        return cls(None)

    def open(
        self, hold: TaskLease, *, agent: str, timeout: float | None, tries: int | None
    ) -> None:
        """Say that a call is to be made."""
        with self._lock:
            if self._table is None or not self._free:
                return
            index = self._free.pop()
            record = self._records.get(index) or self._table.take(index)
            if record is None:
                return
            self._records[index] = record
            self._calls[hold] = index
            limit = "" if timeout is None else f"{timeout:g}"
            past = (-1 if tries is None else tries, 0, False)
            record.open(hold.task, plan=agent, unit=limit, past=past)
            record.begin(hold.token, ON_LOOP)
            self._count(index + 1)

    def run_in(self, hold: TaskLease, thread: int) -> None:
        """Say that a call has a thread of its own, by the kernel's number of it."""
        with self._lock:
            index = self._calls.get(hold)
            if index is not None:
                self._records[index].begin(hold.token, thread)

    def loop_runs_in(self, thread: int) -> None:
        """Say which thread the loop runs in."""
        if self._loop is not None:
            self._loop.begin(thread)

    def arm(self, hold: TaskLease, timeout: float | None) -> None:
        """Say that the time of a call begins."""
        with self._lock:
            index = self._calls.get(hold)
            if index is not None:
                self._records[index].arm(timeout)

    def ask(self, hold: TaskLease) -> None:
        """Say that a call was asked to end."""
        with self._lock:
            index = self._calls.get(hold)
            if index is not None:
                self._records[index].ask(time.monotonic())

    def close(self, hold: TaskLease) -> None:
        """Say that a call has ended, or that its task has."""
        with self._lock:
            index = self._calls.pop(hold, None)
            if index is not None:
                self._records[index].close()
                self._free.append(index)

    def beat(self) -> None:
        """Let the process be heard."""
        if self._process is not None:
            self._process.beat(time.monotonic())

    def beat_loop(self) -> None:
        """Let the loop be heard."""
        if self._loop is not None:
            self._loop.beat(time.monotonic())

    def _named(self, index: int) -> WorkRecord | None:
        record = self._table.take(index) if self._table else None
        if record is not None:
            record.open("process", plan="")
            record.begin(0)
        return record

    def _count(self, used: int) -> None:
        if self._process is not None and used > self._highest:
            self._highest = used
            self._process.begin(used)


def process_record(table: WorkTable) -> RunningWork | None:
    """Read what a process says of itself; None before it has begun."""
    return table.read(_PROCESS)


def loop_record(table: WorkTable) -> RunningWork | None:
    """Read what a process says of its loop; None before it has begun."""
    return table.read(_LOOP)


def agent_calls(table: WorkTable) -> list[AgentCall]:
    """Read the calls that a process is making."""
    process = process_record(table)
    found = (table.read(index) for index in range(_FIRST, process.node if process else 0))
    return [
        AgentCall(
            hold=TaskLease(task=work.run, token=work.node),
            agent=work.plan,
            timeout=work.unit,
            thread=work.attempt,
            tries=None if work.lost < 0 else work.lost,
            work=work,
        )
        for work in found
        if work is not None
    ]
