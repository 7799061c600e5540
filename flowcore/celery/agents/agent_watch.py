"""The watch over processes of agents: who times out, who is frozen, who is in the others' way.

In: what a process writes of its calls, and what the kernel says of it. Out: calls that are handed
back or ended, processes that are replaced.

A process ends its calls itself as long as its loop has its turn. It cannot while a call keeps the
interpreter, or blocks the loop: then this process renews its leases while it is on the CPU, ends a
call whose time is up, hands the others back, and replaces the process. One that is stopped or
frozen loses its leases as a dead one does.
"""

import logging
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from flowcore.agents.message import TaskState
from flowcore.celery.agents.process import RETIRE, AgentProcess
from flowcore.celery.agents.services import AgentServices
from flowcore.celery.agents.supervisor import REPLACE, ChildProcess, Supervisor
from flowcore.engine.agents.call_table import (
    RECORDS,
    AgentCall,
    CallRecords,
    agent_calls,
    loop_record,
    process_record,
)
from flowcore.engine.agents.context import said
from flowcore.engine.agents.host import retry_delay
from flowcore.engine.attempts.work_table import RunningWork, WorkTable
from flowcore.engine.worker.liveness import (
    CpuWatch,
    Excess,
    ProcessUsage,
    excess,
    is_heard,
    parse_stat,
)
from flowcore.ports.agents import TaskLease

__all__ = ["AgentRole"]

_log = logging.getLogger(__name__)

#: Seconds without a sign of life after which a process, or its loop, is not heard.
_UNHEARD = 1.0
#: Seconds for which a process counts as on the CPU after its CPU time has grown.
_ON_CPU = 1.0
#: Seconds that a process has to end a call itself whose time is up, or whose task is gone.
_GRACE, _STOP_GRACE = 1.5, 3.0
#: The same for a process whose loop is heard: it will, though it is busy.
_BUSY_GRACE = 10.0
#: Seconds after which another process serves beside one whose loop is not heard.
_RELIEF = 2.5
_RELIEF_MOST = 3
#: Seconds between two looks at the calls.
_LOOK = 0.2
_START = 120.0
_ANOTHER_WAITS = 2


class AgentRole:
    """Implements ``Role``: processes that host agents."""

    name = "agents"
    count = 1
    grace = 4.0

    def __init__(
        self, services: AgentServices, inside: Callable[[], tuple[Any, AgentServices]], note: str
    ) -> None:
        """Watch over the processes that host agents.

        Args:
            services: To watch with.
            inside: Gives a process its own app and services.
            note: The id of the worker's note on the board.
        """
        self._note = note
        self._services = services
        self._store = services.store
        self._inside = inside
        self._cpu = CpuWatch(patience=_ON_CPU)
        self._threads: dict[int, CpuWatch] = {}
        self._handed: dict[int, set[TaskLease]] = {}
        self._replaced = 0
        self._instance = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"

    def take(self) -> tuple[WorkTable, int]:
        """Make a table for a process: nobody else's calls are in it."""
        return WorkTable(RECORDS), 0

    def run(self, table: WorkTable, index: int, ready: Callable[[], None]) -> int:  # noqa: ARG002
        """Host agents in this process."""
        app, services = self._inside()
        process = AgentProcess(
            app,
            services,
            CallRecords(table),
            instance=self._instance,
            note=self._note,
            replaced=self._replaced,
        )
        return process.run(ready)

    def started(self, child: ChildProcess) -> None:
        """Forget what is known of an earlier process with this id."""
        self._threads.pop(child.pid, None)
        self._handed.pop(child.pid, None)

    def watch(self, child: ChildProcess, keeper: Supervisor, now: float) -> None:
        """Look at a process."""
        on_cpu = self._cpu.is_running(child.pid, now)
        process, loop = process_record(child.table), loop_record(child.table)
        if process is None or loop is None:
            if now - child.started > _START and not on_cpu:
                self._replace(child, keeper, ended=(), how="has not begun")
            return
        if now - child.facts.get("looked", 0.0) < _LOOK:
            return
        child.facts["looked"] = now
        self._end_late(child, keeper, loop, now)
        if not is_heard(process, now, patience=_UNHEARD):
            self._unheard(child, keeper, process, now, on_cpu=on_cpu)
        elif is_heard(loop, now, patience=_UNHEARD):
            child.facts["heard"] = now
        self._relieve(child, keeper, now, loop=loop.node)

    def bury(self, child: ChildProcess, status: int) -> bool:
        """Have others take over what a dead process was doing."""
        if status == REPLACE:
            self._replaced += 1
            return True
        for call in self._calls(child):
            self._store.lose(call.hold)
        return False

    def _end_late(
        self, child: ChildProcess, keeper: Supervisor, loop: RunningWork, now: float
    ) -> None:
        """Replace a process that does not end calls whose time is up."""
        more = _BUSY_GRACE if is_heard(loop, now, patience=_UNHEARD) else 0.0
        late = {
            call.hold: why
            for call in self._calls(child)
            if (why := excess(call.work, now, grace=_GRACE + more, stop_grace=_STOP_GRACE + more))
        }
        if late:
            ended = [hold for hold, why in late.items() if why is Excess.TIMEOUT]
            self._replace(child, keeper, ended=ended, how=f"does not end {len(late)} calls")

    def _unheard(
        self,
        child: ChildProcess,
        keeper: Supervisor,
        process: RunningWork,
        now: float,
        *,
        on_cpu: bool,
    ) -> None:
        """Keep the leases of a process that spins; not of one that is stopped or frozen."""
        services = self._services
        if not on_cpu:
            if now - process.heartbeat > 2 * services.lease and not self._was_away(child, now):
                self._replace(child, keeper, ended=(), how="is frozen", lost=True)
            return
        child.facts["ran"] = now
        if now - child.facts.get("renewed", 0.0) < services.heartbeat:
            return
        child.facts["renewed"] = now
        holds = [call.hold for call in self._calls(child)]
        gone = self._store.renew("supervisor", holds) if holds else ()
        if gone and now - process.heartbeat > _STOP_GRACE / 2:
            self._replace(child, keeper, ended=(), how="does not let go of a task that is over")

    def _was_away(self, child: ChildProcess, now: float) -> bool:
        """Say whether this very process was stopped for a while: then nobody was heard."""
        last = child.facts.get("unheard", now)
        child.facts["unheard"] = now
        return now - last > _UNHEARD or last == now

    def _calls(self, child: ChildProcess) -> list[AgentCall]:
        """Read the calls of a process, but for those that were handed back."""
        handed = self._handed.get(child.pid, ())
        return [call for call in agent_calls(child.table) if call.hold not in handed]

    def _relieve(self, child: ChildProcess, keeper: Supervisor, now: float, *, loop: int) -> None:
        """Have another process serve beside one that is in its own way."""
        heard = child.facts.setdefault("heard", now)
        if heard == now:
            return
        on_cpu = self._on_cpu(child, loop, now)
        away = child.retiring or keeper.is_stopping or now - heard <= _RELIEF
        if away or keeper.retiring(self) >= _RELIEF_MOST:
            return
        _log.warning("agents: a call keeps process %d from all others; one more begins", child.pid)
        keeper.retire(child, RETIRE)
        if not on_cpu:
            return
        # What those that spin keep from its turn goes on in the new process.
        others = [call.hold for call in self._calls(child) if call not in on_cpu]
        self._handed[child.pid] = set(others)
        for hold in others:
            self._store.retry(hold, delay=0.0, failed=False)

    def _on_cpu(self, child: ChildProcess, loop: int, now: float) -> list[AgentCall]:
        """Return the calls whose threads are on the CPU; all of the loop's, if that is."""
        watch = self._threads.get(child.pid)
        if watch is None:
            usage = partial(_thread_usage, child.pid)
            watch = self._threads[child.pid] = CpuWatch(patience=_ON_CPU, usage=usage)
        calls = self._calls(child)
        threads = {call.thread or loop for call in calls}
        running = {thread for thread in threads if watch.is_running(thread, now)}
        return [call for call in calls if (call.thread or loop) in running]

    def _replace(
        self,
        child: ChildProcess,
        keeper: Supervisor,
        *,
        ended: Sequence[object],
        how: str,
        lost: bool = False,
    ) -> None:
        """Hand back what a process does, end what is too late, and start another one."""
        calls = self._calls(child)
        _log.warning("agents: process %d %s and is replaced", child.pid, how)
        for call in calls:
            if lost:
                self._store.lose(call.hold)
            elif call.hold not in ended:
                self._store.retry(call.hold, delay=0.0, failed=False)
        for call in calls:
            if call.hold in ended:
                self._time_out(call)
        self._replaced += 1
        keeper.kill(child)

    def _time_out(self, call: AgentCall) -> None:
        if call.tries is not None:
            self._store.retry(call.hold, delay=retry_delay(call.tries), failed=True)
            return
        text = f"took longer than its timeout of {call.timeout} s"
        body = said(text, label="error")
        if self._store.settle(call.hold, TaskState.FAILED, body) == _ANOTHER_WAITS:
            self._services.caller.ring(call.agent, call.hold.task)


def _thread_usage(pid: int, thread: int) -> ProcessUsage | None:
    try:
        return parse_stat(Path(f"/proc/{pid}/task/{thread}/stat").read_text("utf-8", "replace"))
    except OSError:
        return None
