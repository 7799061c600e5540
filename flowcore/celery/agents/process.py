"""A process that hosts agents, from its start to its end.

In: services, and records that its supervisor reads. Out: threads: one per agent takes doorbells
from the broker, one hears news, one renews leases, one keeps the cards posted, one lets the process
be heard. Not here: turns (engine.agents.host), who starts the process and ends it (supervisor).
"""

import logging
import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from flowcore.celery.agents.consumer import consume
from flowcore.celery.agents.services import AgentServices, load_agents
from flowcore.celery.agents.supervisor import REPLACE
from flowcore.celery.agents.threads import start_loop
from flowcore.engine.agents.call_table import CallRecords
from flowcore.engine.agents.host import AgentHost
from flowcore.engine.agents.queues import agent_queue
from flowcore.errors import FlowcoreError

__all__ = ["RETIRE", "AgentProcess"]

_log = logging.getLogger(__name__)

#: The signal on which a process takes nothing new, and ends with what it has.
RETIRE = signal.SIGHUP
_PAUSE = 1.0
_POST_EVERY = 2.0
_BEAT = 0.25
_LOOK = 0.2


class AgentProcess:
    """Hosts agents until it is told to stop, or has to be replaced."""

    def __init__(
        self,
        app: Any,
        services: AgentServices,
        records: CallRecords,
        *,
        instance: str,
        note: str,
        replaced: int,
    ) -> None:
        """Host nothing yet.

        Args:
            app: Celery's app, which knows the broker.
            services: What the agents use.
            records: What the supervisor reads.
            instance: The name of the cards, which those of a process before this one had as well.
            note: The id of the worker's note on the board.
            replaced: How many processes had to be replaced before this one.
        """
        self._instance = instance
        self._note = note
        self._app = app
        self._services = services
        self._records = records
        self._replaced = replaced
        self._stop = threading.Event()
        self._retire = threading.Event()

    def run(self, ready: Callable[[], None]) -> int:
        """Host; return the exit status.

        Raises:
            UsageError: The agents cannot be loaded.
        """
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())
        signal.signal(RETIRE, lambda *_: self._retire.set())
        start_loop(self._be_heard, "life", self._stop)
        agents = load_agents(self._services.modules)
        host = AgentHost(
            agents,
            self._services.caller,
            namespace=self._services.namespace,
            records=self._records,
        )
        host.start()
        self._post(host)
        start_loop(partial(self._listen, host), "news", self._stop)
        start_loop(partial(self._renew, host), "leases", self._stop)
        start_loop(partial(self._keep_posted, host), "cards", self._stop)
        for name in agents:
            start_loop(partial(self._consume, host, name), name, self._stop)
        _log.info("hosts the agents %s", ", ".join(agents))
        ready()
        return self._end(host)

    def _end(self, host: AgentHost) -> int:
        while not self._stop.wait(_LOOK):
            if host.exhausted.is_set():
                break
            if self._retire.is_set() and not host.is_busy:
                break
        goes = self._stop.is_set()
        replace = host.exhausted.is_set() and not goes
        self._stop.set()
        try:
            host.stop()
            # The cards of one that others go on for stay as they are.
            for name in host.agents if goes else ():
                self._services.directory.leave(name, self._instance)
        except FlowcoreError as error:
            _log.warning("could not give back the tasks of agents: %s", error)
        return REPLACE if replace else 0

    # ── threads ──────────────────────────────────────────────────────────────────────────────

    def _be_heard(self) -> None:
        self._records.beat()
        self._stop.wait(_BEAT)

    def _listen(self, host: AgentHost) -> None:
        self._services.listener.listen(host.instance, host.hear, self._stop)

    def _renew(self, host: AgentHost) -> None:
        if holds := host.holds():
            for lost in self._services.store.renew(host.instance, holds):
                host.drop(lost)
        self._stop.wait(self._services.heartbeat)

    def _post(self, host: AgentHost) -> None:
        if self._note:
            self._services.announce(self._note)
        for name, card in host.cards.items():
            self._services.directory.post(
                card,
                instance=self._instance,
                keep=3 * _POST_EVERY,
                hung=host.places[name].hung,
                replaced=self._replaced,
            )

    def _keep_posted(self, host: AgentHost) -> None:
        self._stop.wait(_POST_EVERY)
        if not self._stop.is_set() and not self._retire.is_set():
            self._post(host)

    def _consume(self, host: AgentHost, name: str) -> None:
        services, places = self._services, host.places[name]

        def has_room(timeout: float) -> bool:
            if self._stop.is_set() or self._retire.is_set():
                raise StopIteration
            return places.wait_free(timeout)

        if self._retire.is_set():
            self._stop.wait(_PAUSE)
            return
        consume(
            self._app,
            agent_queue(name, namespace=services.namespace),
            lambda content: host.accept(content["task"]),
            services=services,
            has_room=has_room,
        )
