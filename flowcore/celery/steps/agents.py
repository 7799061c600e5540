"""Agents as a part of a Celery worker (a bootstep).

In: the worker's start and stop. Out: a process that supervises those that host agents, and nodes
of the a2a backend; and a thread that keeps house among tasks of agents. The worker's own processes
run none of it.
"""

import logging
import threading
import time
from functools import partial
from typing import Any

from celery import bootsteps

from flowcore.celery.agents.node_dispatcher import is_node_queue
from flowcore.celery.agents.services import AgentServices, HostedWork, Launched
from flowcore.celery.agents.threads import start_loop
from flowcore.engine.values.isolation import Isolation

__all__ = ["AgentStep"]

_log = logging.getLogger(__name__)

#: Seconds between sweeps, and where no agents are hosted.
_SWEEP_EVERY, _SWEEP_IDLE = 0.2, 2.0
#: Seconds that the processes have to be ready, and to end.
_START, _GRACE = 120.0, 15.0
_LOOK = 0.2
_BACKOFF, _BACKOFF_MOST = 0.5, 10.0


class AgentStep(bootsteps.StartStopStep):
    """Hosts the agents of ``app.flowcore_agents``, if there are any."""

    def __init__(self, worker: Any, **options: Any) -> None:
        """Celery makes one for each worker."""
        super().__init__(worker, **options)
        self._stop = threading.Event()
        self._services: AgentServices | None = None
        self._sweeping = Isolation("agents")
        self._launched: Launched | None = None
        self._work: HostedWork | None = None

    def start(self, worker: Any) -> None:
        """Begin to host."""
        services: AgentServices = worker.app.flowcore_agents()
        self._services = services
        self._sweeping = Isolation("agents", services.troubles)
        queues = worker.app.amqp.queues
        named = [name for name in queues.consume_from if is_node_queue(name)]
        # Celery itself must not take what is for agents.
        queues.deselect(named)
        start_loop(self._sweep, "sweep", self._stop)
        if not named and not services.modules:
            return
        self._work = HostedWork(
            worker=worker.hostname,
            modules=services.modules,
            queues=tuple(named),
            slots=worker.concurrency or 1,
            note=getattr(worker, "flowcore_note", ""),
            log_level=_level(getattr(worker, "loglevel", None)),
            log_file=getattr(worker, "logfile", None),
        )
        self._launched = services.launch(self._work)
        trouble = self._launched.wait_ready(_START)
        if trouble is not None:
            self._launched.stop(grace=0.0)
            raise SystemExit(f"flowcore: {trouble}")
        start_loop(self._keep, "processes", self._stop)

    def stop(self, worker: Any) -> None:  # noqa: ARG002  (celery's signature)
        """Give back what runs; others go on with it."""
        self._stop.set()
        if self._launched is not None:
            self._launched.stop(grace=_GRACE)

    def terminate(self, worker: Any) -> None:
        """Do the same in a cold shutdown."""
        self.stop(worker)

    # ── threads ──────────────────────────────────────────────────────────────────────────────

    def _keep(self) -> None:
        """Start the supervisor again when it ends unasked."""
        backoff = _BACKOFF
        while not self._stop.wait(_LOOK):
            if self._launched is None or not self._launched.has_ended():
                continue
            began = time.monotonic()
            _log.error("the process that keeps those of agents ended; another one begins")
            if self._work is not None and self._services is not None:
                self._launched = self._services.launch(self._work)
                self._launched.wait_ready(_START)
            backoff = _BACKOFF if time.monotonic() - began > _BACKOFF_MOST else 2 * backoff
            self._stop.wait(min(backoff, _BACKOFF_MOST))

    def _sweep(self) -> None:
        if self._services is not None:
            caller = self._services.caller
            for bell in self._services.store.sweep():
                self._sweeping.serve(bell.task, partial(caller.ring, bell.agent, bell.task))
        self._stop.wait(_SWEEP_IDLE if self._work is None else _SWEEP_EVERY)


def _level(level: object) -> int:
    if isinstance(level, int):
        return level
    found = logging.getLevelName(str(level).upper())
    return found if isinstance(found, int) else logging.INFO
