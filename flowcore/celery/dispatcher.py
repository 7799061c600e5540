"""The dispatcher on Celery: one ordinary task message per node, published as a group.

In: a dispatch and its plan. Out: signed messages of constant size. Not here: what a node is given;
a message carries only the run's id and numbers, and the worker loads the rest from the store.
"""

import logging
import os
import socket
import time
from collections.abc import Iterable
from typing import Any

import msgpack
from celery import Celery
from kombu import Producer

from flowcore.celery.kombu.producers import Producers
from flowcore.celery.monitoring.task_events import BROKER_TROUBLE, TaskEvents, shown_kwargs
from flowcore.celery.signing import Keyring, sign_message
from flowcore.errors import StoreUnreachableError
from flowcore.plan.plan import Plan
from flowcore.plan.policy import Policy
from flowcore.ports.store import Dispatch
from flowcore.ports.unit import Bundle

__all__ = [
    "END_TASK",
    "NODE_TASK",
    "UNIT_TASK",
    "CeleryDispatcher",
    "in_namespace",
    "lanes",
    "queue_name",
]

_log = logging.getLogger(__name__)

NODE_TASK = "flowcore.node"

#: Carries several nodes.
UNIT_TASK = "flowcore.unit"

#: Asks a worker to tell monitors of a run that a client has ended.
END_TASK = "flowcore.end"

#: The priority of runs that name none.
NORMAL = 5

HIGH, LOW = ".high", ".low"

_Message = tuple[str, dict[str, Any], bytes]

_TRIES = 3
_BACKLOG_FRESH = 1.0

#: The pool kills a child this long after the end of a node's time limit, should the watchdog not.
_HARD_LIMIT_AFTER = 60.0

_ORIGIN = f"{os.getpid()}@{socket.gethostname()}"


def queue_name(queue: str | None, *, default: str, namespace: str, priority: int = 5) -> str:
    """Name the broker's queue of a node.

    Args:
        queue: The node's own queue, if it has one.
        default: The queue of nodes that have none.
        namespace: Keeps projects apart that share one embedded server; empty on a real server.
        priority: The run's, 0 to 9. Above and below 5 its nodes have lanes, queues of their own,
            which every worker of the queue consumes too, in order.
    """
    name = queue or default
    name = f"{namespace}.{name}" if namespace else name
    if priority == NORMAL:
        return name
    return f"{name}{HIGH if priority > NORMAL else LOW}"


def in_namespace(queues: Iterable[str], namespace: str) -> list[str]:
    """Name queues as the broker does; those that have the namespace already keep their names."""
    prefix = f"{namespace}." if namespace else ""
    return [name if name.startswith(prefix) else f"{prefix}{name}" for name in queues]


def lanes(queues: Iterable[str]) -> list[str]:
    """Name all queues a worker of these queues consumes, the most urgent first."""
    names = list(dict.fromkeys(name.removesuffix(HIGH).removesuffix(LOW) for name in queues))
    return [f"{name}{lane}" for lane in (HIGH, "", LOW) for name in names]


class CeleryDispatcher:
    """Implements ``Dispatcher`` with Celery's producers."""

    def __init__(
        self,
        app: Celery,
        *,
        producers: Producers,
        events: TaskEvents,
        default_queue: str,
        keys: Keyring,
    ) -> None:
        """Publish with ``producers``, signed by ``keys``; tell monitors through ``events``."""
        self._keys = keys
        self._app: Any = app  # celery-types knows little of connections
        self._producers = producers
        self.default_queue = default_queue
        self._events = events
        self._backlogs: dict[str, tuple[float, int]] = {}

    def publish(self, dispatch: Dispatch, plan: Plan) -> None:
        """Send the messages of a group together; a broker out of reach is only logged.

        The store holds the intent, so a janitor publishes again what got lost here.
        """
        listened = self._events.listened()
        for left in reversed(range(_TRIES)):
            try:
                messages = [self._message(dispatch, plan, *pair) for pair in dispatch.nodes]
                bundles = [self._bundle(dispatch, plan, bundle) for bundle in dispatch.bundles]
                with self._producers.batch() as producer:
                    _publish(producer, messages)
                    _publish(producer, bundles)
                    if messages and listened:
                        self._events.sent(producer, [message[:2] for message in messages])
            except (*BROKER_TROUBLE, StoreUnreachableError) as error:
                if not left:
                    _log.warning(
                        "could not publish %d messages of run %s now (a janitor will): %s",
                        len(dispatch.nodes) + len(dispatch.bundles),
                        dispatch.run,
                        error,
                    )
            else:
                return

    def tell_end(self, run: str, plan: Plan, *, namespace: str) -> None:
        """Let a worker tell monitors that a run has ended.

        A client must not: Flower takes whoever sends such an event for a worker. The task itself
        shows in no monitor.
        """
        queue = queue_name(
            plan.policy(plan.starts[0]).queue, default=self.default_queue, namespace=namespace
        )
        headers = _headers(END_TASK, f"{run}.end", root=run)
        try:
            given = sign_message(self._keys, END_TASK, headers["id"], {"run": run})
            body = msgpack.packb(((), given, {}))
            with self._producers.batch() as producer:
                _publish(producer, [(queue, headers, body)])
        except (*BROKER_TROUBLE, StoreUnreachableError) as error:
            _log.debug("monitors will not be notified of the end of run %s: %s", run, error)

    def backlog(self, dispatch: Dispatch, plan: Plan) -> int:
        """Count the messages waiting where a dispatch would go; at most a second old."""
        queue = self._queue(dispatch, plan.policy(dispatch.first))
        seen, count = self._backlogs.get(queue, (0.0, 0))
        now = time.monotonic()
        if now - seen > _BACKLOG_FRESH:
            count = self.waiting(queue)
            self._backlogs[queue] = (now, count)
        return count

    def waiting(self, *queues: str) -> int:
        """Count the messages in queues of the broker; 0 when that cannot be known."""
        try:
            return self._producers.waiting(queues) if queues else 0
        except Exception as error:  # noqa: BLE001  (each transport has its own 'no such queue')
            _log.debug("cannot look into %s: %s", ", ".join(queues), error)
            return 0

    def _message(self, dispatch: Dispatch, plan: Plan, node: int, attempt: int) -> _Message:
        name = plan.ids[node]
        policy = plan.policy(node)
        before = plan.pred[node]
        hard = policy.timeout + _HARD_LIMIT_AFTER if policy.timeout else None
        run, flow = dispatch.run, dispatch.flow
        headers = _headers(NODE_TASK, f"{run}.{name}", root=run)
        headers |= {
            "shadow": f"{flow}.{plan.label(node)}",
            "parent_id": f"{run}.{plan.ids[before[-1]]}" if before else run,
            "retries": attempt - 1,
            "timelimit": [hard, None],
            "kwargsrepr": shown_kwargs(
                run=run, flow=flow, node=name, attempt=attempt, tags=policy.tags
            ),
        }
        given = {"run": run, "plan": dispatch.plan, "node": node, "attempt": attempt}
        kwargs = sign_message(self._keys, NODE_TASK, headers["id"], given, limit=hard)
        body = msgpack.packb(((), kwargs, {"chord": {"run": run}}))
        return self._queue(dispatch, policy), headers, body

    def _bundle(self, dispatch: Dispatch, plan: Plan, bundle: Bundle) -> _Message:
        run = dispatch.run
        headers = _headers(UNIT_TASK, f"{run}.{bundle.unit}", root=run)
        first = plan.ids[bundle.node]
        headers["kwargsrepr"] = repr({"run": run, "from": first, "nodes": bundle.count})
        given = {"run": run, "plan": dispatch.plan, "unit": bundle.unit}
        kwargs = sign_message(self._keys, UNIT_TASK, headers["id"], given)
        body = msgpack.packb(((), kwargs, {"chord": {"run": run}}))
        return self._queue(dispatch, plan.policy(bundle.node)), headers, body

    def _queue(self, dispatch: Dispatch, policy: Policy) -> str:
        return queue_name(
            policy.queue,
            default=self.default_queue,
            namespace=dispatch.namespace,
            priority=dispatch.priority if policy.priority is None else policy.priority,
        )


def _headers(task: str, id: str, *, root: str) -> dict[str, Any]:
    return {
        "lang": "py",
        "task": task,
        "id": id,
        "shadow": None,
        "root_id": root,
        "parent_id": root,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "eta": None,
        "expires": None,
        "argsrepr": "()",
        "kwargsrepr": "{}",
        "origin": _ORIGIN,
        "ignore_result": True,
        # Celery's bulk revoke finds all messages of a run by it.
        "stamped_headers": ["flow_run"],
        "stamps": {"flow_run": [root]},
    }


def _publish(producer: Producer, messages: Iterable[_Message]) -> None:
    for queue, headers, body in messages:
        producer.publish(
            body,
            exchange="",
            routing_key=queue,
            content_type="application/x-msgpack",
            content_encoding="binary",
            headers=headers,
            correlation_id=headers["id"],
            delivery_mode=2,
        )
