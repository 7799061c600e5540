"""The Celery app of the native backend.

In: URLs and a factory of services. Out: a configured app whose workers run nodes.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from billiard.process import current_process
from celery import Celery
from celery.signals import celeryd_after_setup, worker_process_init

from flowcore.celery.canvas.export import register as register_canvas
from flowcore.celery.dispatcher import in_namespace, lanes
from flowcore.celery.external_tasks import register_answers
from flowcore.celery.fork_safety import be_a_process_of_python, free_locks_in_forks
from flowcore.celery.gate.redis_consumer import DoorbellAMQP
from flowcore.celery.gate.refusal import Refuser
from flowcore.celery.kombu.brokers import Place
from flowcore.celery.monitoring.terminal_log import guard_terminals
from flowcore.celery.node_runner import HostOptions, NodeHost
from flowcore.celery.rerouting import Forwarding
from flowcore.celery.services import Services
from flowcore.celery.tasks import register_tasks
from flowcore.engine.attempts.work_table import WorkTable
from flowcore.forks import PerProcess
from flowcore.lifetimes import kill_at_end_of

__all__ = ["AppOptions", "WorkerBootstrap", "make_app"]

#: Queues are declared, durable and replicated. With a topic exchange of their own, and not a
#: direct one, Celery can delay messages without a worker holding them (a canvas's retries).
_QUORUM = {
    "task_default_queue_type": "quorum",
    "task_default_exchange_type": "topic",
    "task_create_missing_queue_type": "quorum",
    "task_create_missing_queue_exchange_type": "topic",
}


#: By name: they are imported by workers alone, with Celery's worker and its pools.
_WORKER_STEPS = (
    "flowcore.celery.steps.janitor:JanitorStep",
    "flowcore.celery.steps.pool_children:ChildWatch",
    "flowcore.celery.steps.stalls:StallWatch",
    "flowcore.celery.steps.payload_cleanup:TidyingStep",
    "flowcore.celery.steps.watchdog:WatchdogStep",
    "flowcore.celery.steps.cold_shutdown:ShutdownBound",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AppOptions:
    """Addresses of the app's messages and runs."""

    broker: Place
    """Where messages go."""
    results: Place
    """The Redis of the runs."""
    queue: str
    """Queue of nodes that name none, with its namespace."""
    namespace: str = ""
    """Prefix of the names of queues."""


class WorkerBootstrap:
    """State for Celery's callbacks, which find it as ``app.flowcore``; safe across forks."""

    def __init__(self, build: Callable[[], Services], options: HostOptions) -> None:
        """Build services when first asked, in each process anew."""
        self._build = build
        self.refuser = Refuser(lambda: self.services().refusals)
        """Keeps messages aside that the gate does not let in."""
        self.options = options
        self.namespace = ""
        """Prefix of the names of queues."""
        self._made = PerProcess(self._host)
        self._forwarding = PerProcess(lambda: Forwarding(self.host()))
        self.table: WorkTable | None = None
        """The work of the pool's children, in memory that they share with their parent."""
        self.tie: tuple[int, int] | None = None
        """A pipe whose write end is in the pool's parent alone."""
        self.index: int | None = None
        """The record of this process, should the pool not have numbered it."""

    def host(self) -> NodeHost:
        """Return this process's host of nodes."""
        return self._made.get()

    def _host(self) -> NodeHost:
        # The pool numbers its children, and a child that takes another's place has its number.
        index = getattr(current_process(), "index", None) if self.index is None else self.index
        record = self.table.take(index) if self.table and index is not None else None
        return NodeHost(self._build(), self.options, record)

    def forwarding(self) -> Forwarding:
        """Return what sends messages on that belong elsewhere."""
        return self._forwarding.get()

    def services(self) -> Services:
        """Return this process's services."""
        return self.host().services

    def open_child(self, **_: Any) -> None:
        """Begin in a child of the pool, which may have children of its own, as nodes want them.

        A child that never comes back would outlive a parent that is killed.
        """
        if self.tie is not None:
            read, write = self.tie
            os.close(write)
            kill_at_end_of(read)
        be_a_process_of_python()


_WORKER: Any = "flowcore.celery.gate.consumer:GatedWorker"


class _App(Celery):
    """Celery, with a worker that no message ends."""

    @cached_property
    def Worker(self) -> Any:  # noqa: N802  (celery's)
        """Loaded by workers alone."""
        return self.subclass_with_self(_WORKER)


#: What tasks of this app extend, a user's too.
_TASK = "flowcore.celery.tasks:GuardedTask"


def make_app(options: AppOptions, bridge: WorkerBootstrap) -> Celery:
    """Make a Celery app that runs nodes; see RELIABILITY notes in docs for each setting."""
    broker, results = options.broker, options.results
    # Typed as Any: it gets an attribute of ours.
    app: Any = _App("flowcore", broker=broker.url, amqp=DoorbellAMQP, task_cls=_TASK)
    app.conf.update(
        result_backend=_result_backend(results),
        result_backend_transport_options=dict(results.backend_options),
        task_default_queue=options.queue,
        # Workers answer Flower in it, and a plain Flower reads nothing else. Messages of nodes are
        # msgpack whatever this says; pickle is never accepted.
        task_serializer="json",
        result_serializer="msgpack",
        accept_content=["msgpack", "json"],
        task_ignore_result=True,
        worker_send_task_events=True,
        task_track_started=True,
        task_send_sent_event=False,
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_consumer="flowcore.celery.gate.consumer:GatedConsumer",
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_soft_shutdown_timeout=5.0,
        worker_enable_soft_shutdown_on_idle=True,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        # A Redis that refuses a write for now (NOREPLICAS in a failover, no memory) is waited for.
        # A RabbitMQ refuses what would never be right.
        broker_channel_error_retry=not broker.quorum,
        broker_connection_timeout=5.0,
        broker_transport_options=dict(broker.options),
        **(_QUORUM if broker.quorum else {}),
    )
    app.flowcore, bridge.namespace = bridge, options.namespace
    free_locks_in_forks()
    guard_terminals()
    register_tasks(app)
    register_answers(app)
    register_canvas(
        app,
        run_node=lambda plan, node, *, upstream, run, attempt: bridge.host().run_inline(
            plan, node, upstream=upstream, run=run, attempt=attempt
        ),
        keys=lambda: bridge.services().keys,
    )
    app.steps["worker"].update(_WORKER_STEPS)
    app.steps["consumer"].add("flowcore.celery.steps.event_batching:EventBatching")
    worker_process_init.connect(bridge.open_child, weak=False)
    celeryd_after_setup.connect(_consume_lanes, weak=False)
    made: Celery = app
    return made


def _result_backend(results: Place) -> str:
    kind = "SentinelWebBackend" if results.scheme == "sentinel" else "WebBackend"
    # Celery takes what follows the first + for the URL, and calls a socket's path socket://.
    return f"flowcore.celery.result_backend:{kind}+{results.url.removeprefix('redis+')}"


def _consume_lanes(instance: Any, **_: Any) -> None:
    """Let a worker consume the lanes of the queues it was started for."""
    bridge = getattr(instance.app, "flowcore", None)
    if isinstance(bridge, WorkerBootstrap):
        queues = instance.app.amqp.queues
        queues.select(lanes(in_namespace(queues.consume_from, bridge.namespace)))
