"""Agents as a part of a Celery worker (a bootstep).

In: the worker's start and stop. Out: threads in its parent process: one per agent takes doorbells
from the broker, one hears news, one renews leases, one keeps house. No pool process is involved.

A doorbell is taken off the broker as soon as it is read: the task is in the store, and whatever
is lost on the way from here is rung again by a sweep.
"""

import importlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

from celery import bootsteps
from kombu import Consumer

from flowcore.agents.agent import AgentSpec
from flowcore.agents.message import Json
from flowcore.backends.a2a.host import AgentHost, Places
from flowcore.backends.a2a.nodes import NodeRunner, is_node_queue, run_message
from flowcore.backends.a2a.ringing import agent_queue, opened, queue_of
from flowcore.engine.agents import Caller
from flowcore.engine.isolation import Isolation
from flowcore.errors import FlowcoreError, UsageError
from flowcore.ports.agents import AgentDirectory, Signer, TaskStore
from flowcore.ports.troubles import TroubleBook

__all__ = ["AgentServices", "AgentStep", "Listener", "load_agents"]

_log = logging.getLogger(__name__)

_PAUSE = 1.0
#: Seconds between sweeps, and where no agents are hosted.
_SWEEP_EVERY, _SWEEP_IDLE = 0.2, 2.0
_POST_EVERY = 2.0
_DRAIN = 0.5


class Listener(Protocol):
    """A task store that tells an instance of news."""

    def listen(
        self, instance: str, hear: Callable[[str, str], None], stop: threading.Event
    ) -> None:
        """Hear until stopped."""
        ...


class AgentServices:
    """What the agents of a process use."""

    def __init__(  # noqa: PLR0913  (assembly names them all)
        self,
        *,
        caller: Caller,
        listener: Listener,
        keys: Signer,
        namespace: str,
        quorum: bool,
        heartbeat: float,
        modules: Sequence[str],
        troubles: TroubleBook | None = None,
    ) -> None:
        """Keep them."""
        self.troubles = troubles
        self.caller = caller
        self.listener = listener
        self.keys = keys
        self.namespace = namespace
        self.quorum = quorum
        self.heartbeat = heartbeat
        self.modules = tuple(modules)

    @property
    def store(self) -> TaskStore:
        """The tasks."""
        return self.caller.store

    @property
    def directory(self) -> AgentDirectory:
        """Who is there."""
        return self.caller.directory


def load_agents(modules: Sequence[str]) -> Mapping[str, AgentSpec]:
    """Import modules and return their agents by name.

    Raises:
        UsageError: A module cannot be imported or has no agents, or two have one name.
    """
    found: dict[str, AgentSpec] = {}
    for name in modules:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            raise UsageError(f"cannot import the agents of {name!r}: {error}") from error
        specs = [each for each in vars(module).values() if isinstance(each, AgentSpec)]
        if not specs:
            raise UsageError(f"module {name!r} has no agents; write '@agent(\"name\")' above one")
        for spec in specs:
            if found.setdefault(spec.name, spec) is not spec:
                raise UsageError(f"two agents are called {spec.name!r}; names are unique")
    return found


class AgentStep(bootsteps.StartStopStep):
    """Hosts the agents of ``app.flowcore_agents``, if there are any."""

    def __init__(self, worker: Any, **options: Any) -> None:
        """Celery makes one for each worker."""
        super().__init__(worker, **options)
        self._stop = threading.Event()
        self._host: AgentHost | None = None
        self._services: AgentServices | None = None
        self._sweeping = Isolation("agents")

    def start(self, worker: Any) -> None:
        """Begin to host."""
        services: AgentServices = worker.app.flowcore_agents()
        self._services = services
        self._sweeping = Isolation("agents", services.troubles)
        queues = worker.app.amqp.queues
        named = [name for name in queues.consume_from if is_node_queue(name)]
        # Celery itself must not take what is for agents.
        queues.deselect(named)
        for name in named:
            self._spawn(partial(self._consume_nodes, worker, name), name)
        if services.modules:
            self._open(worker.app, services)
        self._spawn(self._sweep, "sweep")

    def _open(self, app: Any, services: AgentServices) -> None:
        try:
            agents = load_agents(services.modules)
        except UsageError as error:
            raise SystemExit(f"flowcore: {error}") from None
        host = AgentHost(agents, services.caller, namespace=services.namespace)
        self._host = host
        host.start()
        self._post()
        self._spawn(self._listen, "news")
        self._spawn(self._renew, "leases")
        self._spawn(self._keep_posted, "cards")
        for name in agents:
            self._spawn(partial(self._consume, app, name), name)
        _log.info("hosts the agents %s", ", ".join(agents))

    def stop(self, worker: Any) -> None:  # noqa: ARG002  (celery's signature)
        """Give back what runs; others go on with it."""
        self._stop.set()
        if self._host is None or self._services is None:
            return
        try:
            self._host.stop()
            for name in self._host.agents:
                self._services.directory.leave(name, self._host.instance)
        except FlowcoreError as error:
            _log.warning("could not give back the tasks of agents: %s", error)

    def terminate(self, worker: Any) -> None:
        """Do the same in a cold shutdown."""
        self.stop(worker)

    # ── threads ──────────────────────────────────────────────────────────────────────────────

    def _spawn(self, work: Callable[[], None], name: str) -> None:
        def run() -> None:
            while not self._stop.is_set():
                try:
                    work()
                except FlowcoreError as error:
                    _log.warning("agents: %s", error)
                except Exception:  # noqa: BLE001  (whatever it is, the next try may go better)
                    _log.exception("agents stumbled (%s)", name)
                else:
                    continue
                self._stop.wait(_PAUSE)

        threading.Thread(target=run, name=f"flowcore-a2a-{name}", daemon=True).start()

    @property
    def _there(self) -> tuple[AgentHost, AgentServices]:
        if self._host is None or self._services is None:
            raise RuntimeError("no agents are hosted here")
        return self._host, self._services

    def _sweep(self) -> None:
        if self._services is not None:
            caller = self._services.caller
            for bell in self._services.store.sweep():
                self._sweeping.serve(bell.task, partial(caller.ring, bell.agent, bell.task))
        self._stop.wait(_SWEEP_IDLE if self._host is None else _SWEEP_EVERY)

    def _listen(self) -> None:
        host, services = self._there
        services.listener.listen(host.instance, host.hear, self._stop)

    def _renew(self) -> None:
        host, services = self._there
        if holds := host.holds():
            for lost in services.store.renew(host.instance, holds):
                host.drop(lost.task)
        self._stop.wait(services.heartbeat)

    def _post(self) -> None:
        host, services = self._there
        for card in host.cards.values():
            services.directory.post(card, instance=host.instance, keep=3 * _POST_EVERY)

    def _keep_posted(self) -> None:
        self._stop.wait(_POST_EVERY)
        if not self._stop.is_set():
            self._post()

    def _consume(self, app: Any, name: str) -> None:
        host, services = self._there
        queue = agent_queue(name, namespace=services.namespace)
        self._take(app, services, queue, host.places[name], lambda said: host.accept(said["task"]))

    def _consume_nodes(self, worker: Any, queue: str) -> None:
        """Run nodes of flows that are sent to the agent of a queue."""
        app, places = worker.app, Places(worker.concurrency or 1)
        runner: NodeRunner = app.flowcore.host()

        def run(content: Json) -> None:
            try:
                run_message(content, runner, worker=worker.hostname, queue=queue)
            except Exception:  # noqa: BLE001  (its lease runs out, and a janitor sends it again)
                _log.exception("a node of %s stumbled", queue)
            finally:
                places.give()

        def accept(content: Json) -> None:
            places.take()
            threads.submit(run, content)

        with ThreadPoolExecutor(worker.concurrency or 1, "flowcore-node-agent") as threads:
            self._take(app, worker.app.flowcore_agents(), queue, places, accept)

    def _take(
        self,
        app: Any,
        services: AgentServices,
        name: str,
        places: Places,
        accept: Callable[[Json], None],
    ) -> None:
        """Take messages off a queue while there are places."""

        def got(message: Any) -> None:
            if services.quorum:
                message.ack()
            content = opened(message, services.keys)
            if content is not None:
                accept(content)

        with app.connection_for_read(heartbeat=0) as connection:
            consumer = Consumer(
                connection.default_channel,
                queues=[queue_of(name, quorum=services.quorum)],
                on_message=got,
                prefetch_count=1,
                # Redis hands out one message for each request; a RabbitMQ would send them all.
                no_ack=not services.quorum,
            )
            with consumer:
                while not self._stop.is_set():
                    if places.wait_free(_DRAIN):
                        _drain(connection)


def _drain(connection: Any) -> None:
    started = time.monotonic()
    try:
        connection.drain_events(timeout=_DRAIN)
    except TimeoutError:
        if time.monotonic() - started < _DRAIN / 10:  # never spin
            time.sleep(_DRAIN / 10)
