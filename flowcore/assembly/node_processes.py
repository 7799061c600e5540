"""Processes that run nodes of the a2a backend, as the native backend runs and watches them.

In: runtimes. Out: the role of a queue for the supervisor of agents' processes. It is wired here,
since backends do not know each other.
"""

from collections.abc import Callable, Iterable

from flowcore.assembly.runtime import Runtime
from flowcore.celery.agents.node_watch import NodeProcess, NodeRole
from flowcore.celery.agents.services import HostedWork
from flowcore.celery.app import WorkerBootstrap
from flowcore.celery.node_runner import NodeHost
from flowcore.celery.parent_records import lose_for
from flowcore.celery.steps.watchdog import Watchdog
from flowcore.engine.attempts.work_table import RunningWork, WorkTable
from flowcore.ports.store import AttemptRef
from flowcore.ports.unit import UnitRef

__all__ = ["node_role"]


class _Watch:
    """Implements ``NodeWatch``."""

    def __init__(self, watchdog: Watchdog, host: NodeHost, worker: str) -> None:
        self._watchdog = watchdog
        self._host = host
        self._worker = worker

    def look(self) -> None:
        self._watchdog.look()

    def was_ended(self, pid: int) -> bool:
        return self._host.ended.pop(pid, None) is not None

    def lose(self, work: RunningWork) -> None:
        unit = UnitRef(run=work.run, unit=work.unit)
        ticket = AttemptRef(run=work.run, node=work.node, attempt=work.attempt)
        held = unit if work.unit else ticket
        lose_for(self._host, held, work.plan, work, worker=self._worker)


def node_role(queue: str, work: HostedWork, *, watching: Runtime, inside: Runtime) -> NodeRole:
    """Make the role of one queue.

    Args:
        queue: The broker's name of the queue.
        work: What the worker hosts.
        watching: Used in the supervisor.
        inside: Used in the processes, and nowhere else.
    """

    def watch(table: WorkTable, children: Callable[[], Iterable[tuple[int, int]]]) -> _Watch:
        bridge = _bridge(watching)
        watchdog = Watchdog(
            table=table,
            host=bridge.host(),
            worker=work.worker,
            children=children,
            interval=bridge.options.heartbeat,
        )
        return _Watch(watchdog, bridge.host(), work.worker)

    def enter(table: WorkTable, index: int) -> NodeProcess:
        bridge = _bridge(inside)
        bridge.table, bridge.index = table, index
        host = bridge.host()

        def stop_run(run: str, reason: str) -> None:
            host.services.store.stop(run, reason=reason)

        return NodeProcess(app=inside.app, services=inside.agents, runner=host, stop_run=stop_run)

    return NodeRole(queue, count=work.slots, worker=work.worker, inside=enter, watch=watch)


def _bridge(runtime: Runtime) -> WorkerBootstrap:
    bridge: WorkerBootstrap = runtime.app.flowcore  # type: ignore[attr-defined]
    return bridge
