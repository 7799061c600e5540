"""Processes that run nodes of flows as agents, and the watch over them.

In: messages on the queue of an agent that stands for a queue of nodes. Out: attempts that are run
and recorded, one at a time in each process. Not here: how a node is run, and what a watchdog does
about one that does not come back (native, by way of assembly).
"""

import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from flowcore.agents.message import Json, Message
from flowcore.celery.agents.consumer import consume
from flowcore.celery.agents.node_dispatcher import NodeRunner, run_message
from flowcore.celery.agents.services import AgentServices
from flowcore.celery.agents.supervisor import ChildProcess, Supervisor
from flowcore.engine.attempts.work_table import RunningWork, WorkTable
from flowcore.errors import FlowcoreError

__all__ = ["NodeProcess", "NodeRole", "NodeWatch"]

_log = logging.getLogger(__name__)

#: Seconds between two looks at all processes of a queue.
_LOOK = 0.25
_PAUSE = 1.0


class NodeWatch(Protocol):
    """Keeps time for processes that cannot, and records for those that are dead."""

    def look(self) -> None:
        """Look at all of them once."""
        ...

    def was_ended(self, pid: int) -> bool:
        """Say whether this watch has ended a process, and recorded what it was doing."""
        ...

    def lose(self, work: RunningWork) -> None:
        """Record that the process that was doing something is dead."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProcess:
    """Parts with which a process runs nodes."""

    app: Any
    services: AgentServices
    runner: NodeRunner
    stop_run: Callable[[str, str], None]
    """Ends a run, for a reason."""


class NodeRole:
    """Implements ``Role``: processes that run the nodes of one queue."""

    #: A node that runs may come to its end; then its process is ended, and others go on with it.
    grace = 12.0

    def __init__(
        self,
        queue: str,
        *,
        count: int,
        worker: str,
        inside: Callable[[WorkTable, int], NodeProcess],
        watch: Callable[[WorkTable, Callable[[], list[tuple[int, int]]]], NodeWatch],
    ) -> None:
        """Describe them.

        Args:
            queue: The broker's name of the queue.
            count: Processes, each of which runs one node at a time.
            worker: The name of the worker, for the record.
            inside: Gives a process what it runs nodes with.
            watch: Makes the watch, given the table of running work and the records and ids of the
                processes there are.
        """
        self.name = queue
        self.count = count
        self._worker = worker
        self._inside = inside
        self._table = WorkTable(count)
        self._children: list[ChildProcess] = []
        self._watch = watch(self._table, self._ids)
        self._looked = 0.0

    def take(self) -> tuple[WorkTable, int]:
        """Return the table, and a record that no process has."""
        taken = {child.index for child in self._children}
        return self._table, next(index for index in range(self.count) if index not in taken)

    def run(self, table: WorkTable, index: int, ready: Callable[[], None]) -> int:
        """Run nodes in this process, until it is told to stop."""
        stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        process = self._inside(table, index)
        ready()
        while not stop.is_set():
            try:
                self._consume(process, stop)
            except FlowcoreError as error:
                _log.warning("agents: %s", error)
                stop.wait(_PAUSE)
            except Exception:  # noqa: BLE001  (whatever it is, the next try may go better)
                _log.exception("unexpected error in the process of agents %s", self.name)
                stop.wait(_PAUSE)
        return 0

    def started(self, child: ChildProcess) -> None:
        """Take note of a process."""
        self._children.append(child)

    def watch(self, child: ChildProcess, keeper: Supervisor, now: float) -> None:  # noqa: ARG002
        """Look at all processes, now and then."""
        if now - self._looked >= _LOOK:
            self._looked = now
            self._watch.look()

    def bury(self, child: ChildProcess, status: int) -> bool:
        """Have others take over what a dead process was doing."""
        self._children.remove(child)
        if self._watch.was_ended(child.pid):
            return True
        work = self._table.read(child.index)
        if status and work is not None and work.pid == child.pid:
            self._watch.lose(work)
        return False

    def _consume(self, process: NodeProcess, stop: threading.Event) -> None:
        def accept(content: Json) -> None:
            try:
                run_message(content, process.runner, worker=self._worker, queue=self.name)
            except Exception:  # noqa: BLE001  (its lease runs out, and a janitor sends it again)
                _log.exception("unexpected error in a node of %s", self.name)

        def has_room(timeout: float) -> bool:  # noqa: ARG001  (there is: it runs one at a time)
            if stop.is_set():
                raise StopIteration
            return True

        consume(
            process.app,
            self.name,
            accept,
            services=process.services,
            has_room=has_room,
            refuse=partial(_refuse, process),
        )

    def _ids(self) -> list[tuple[int, int]]:
        return [(child.index, child.pid) for child in self._children]


def _refuse(process: NodeProcess, content: Json, sentence: str) -> None:
    """Stop the run of a message that another version has sent."""
    try:
        process.stop_run(Message.from_json(content).data["run"], sentence)
    except Exception as error:  # noqa: BLE001  (whatever the other version writes)
        _log.warning("the run of a message of another version was not stopped: %s", error)
