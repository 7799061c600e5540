"""Task events for Flower and other monitors, beyond those that workers send by themselves.

In: what was published, runs that start and end. Out: ``task-*`` events, a list of them in each
broker message.

Celery's own ``task-sent`` would name every node ``flowcore.node``; ours carries the node's name.
Each run is one more row, whose id is the run's: its sent event comes from the client, its other
events from workers. Nothing here may fail a run: monitors are told, never waited for.
"""

import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakSet

from celery import Celery
from celery.events.event import get_exchange
from celery.utils.nodenames import anon_nodename
from celery.utils.time import utcoffset
from kombu import Exchange, Producer
from kombu.exceptions import KombuError

from flowcore.celery.kombu.producers import Producers
from flowcore.run.record import RunSummary
from flowcore.run.status import RunState

__all__ = ["BROKER_TROUBLE", "RESULTS", "RunTaskEvents", "TaskEvents", "shown_kwargs"]

_log = logging.getLogger(__name__)

#: What a broker out of reach raises, as long as one publishes in batches: kombu gives errors of
#: a batch a name of its own, beside ``OperationalError``, and any other publish leaves a
#: transport's errors as they are.
BROKER_TROUBLE = (KombuError, OSError)

#: What is shown as a task's result, by how its node ended: outputs stay in the run store.
RESULTS = {"succeeded": "recorded", "skipped": "skipped"}

#: Events in one broker message: 80 kB, far below what a Redis subscriber's buffer may hold.
_MOST = 200

#: Where task events are published.
_TASKS = "task.multi"

_LISTENED_FRESH = 1.0


def shown_kwargs(
    *,
    run: str,
    flow: str,
    node: str | None = None,
    attempt: int | None = None,
    tags: Sequence[str] = (),
) -> str:
    """Spell what a person sees and searches for in Flower; a payload is never in it.

    Flower finds ``kwargs:run=<id>`` exactly, because this reads back as a dict.
    """
    if node is None:
        return repr({"run": run, "flow": flow})
    shown = {"run": run, "flow": flow, "node": node, "item": None, "attempt": attempt}
    return repr(shown | ({"tags": ",".join(tags)} if tags else {}))


class TaskEvents:
    """Sends lists of task events."""

    def __init__(self, app: Celery, producers: Producers) -> None:
        """Send with ``producers``, on ``app``'s clock."""
        self._app: Any = app  # celery-types does not know its clock
        self._producers = producers
        self._asked = -_LISTENED_FRESH
        self._heard = False
        self._exchange: Exchange | None = None
        self._declared: WeakSet[Any] = WeakSet()

    def sent(self, producer: Producer, messages: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        """Say ``task-sent`` of (queue, headers) pairs.

        Within a batch of the producer this costs no round trip of its own, and Celery's event
        dispatcher, which makes a producer each time, would cost more than the messages.
        """
        events = [
            {
                "type": "task-sent",
                "uuid": headers["id"],
                "name": headers["shadow"],
                "args": headers["argsrepr"],
                "kwargs": headers["kwargsrepr"],
                "root_id": headers["root_id"],
                "parent_id": headers["parent_id"],
                "retries": headers["retries"],
                "routing_key": queue,
                "queue": queue,
            }
            for queue, headers in messages
        ]
        self._publish(producer, events, anon_nodename())

    def send(self, events: Sequence[dict[str, Any]], *, hostname: str | None = None) -> None:
        """Send events of a worker, or of a client when no hostname is given."""
        try:
            with self._producers.batch() as producer:
                self._publish(producer, events, hostname or anon_nodename())
        except BROKER_TROUBLE as error:
            _log.debug("monitors were not notified of %s: %s", events[0]["uuid"], error)

    def listened(self) -> bool:
        """Return whether anybody listens to task events; at most a second old."""
        now = time.monotonic()
        if now >= self._asked + _LISTENED_FRESH:
            self._asked = now
            try:
                found = self._producers.listeners(self._app.conf.event_exchange, _TASKS)
            except BROKER_TROUBLE:
                found = 0
            self._heard = found is None or found > 0
        return self._heard

    def _publish(self, producer: Producer, events: Sequence[dict[str, Any]], hostname: str) -> None:
        exchange = self._declared_exchange(producer)
        common = {
            "hostname": hostname,
            "utcoffset": utcoffset(),
            "pid": os.getpid(),
            "timestamp": time.time(),
        }
        events = [{"clock": self._app.clock.forward(), **common, **event} for event in events]
        for start in range(0, len(events), _MOST):
            producer.publish(
                events[start : start + _MOST],
                exchange=exchange.name,
                routing_key=_TASKS,
                serializer="json",
                headers={"hostname": hostname},
                delivery_mode=1,
            )

    def _declared_exchange(self, producer: Producer) -> Exchange:
        """Declare once per channel; kombu's own way to do so costs 30 µs each time."""
        if self._exchange is None:
            self._exchange = get_exchange(producer.connection, name=self._app.conf.event_exchange)
        if producer.channel not in self._declared:
            producer.maybe_declare(self._exchange)
            self._declared.add(producer.channel)
        return self._exchange


class RunTaskEvents:
    """The row of a run in Flower, and rows of nodes that nobody else would bring to an end.

    Every event carries the row's name, so that a Flower started later knows it too.
    """

    def __init__(self, events: TaskEvents) -> None:
        """Send as ``events`` does."""
        self._events = events

    def listened(self) -> bool:
        """Return whether anybody would see a row."""
        return self._events.listened()

    def send(self, events: Sequence[dict[str, Any]], *, hostname: str) -> None:
        """Send events of a worker."""
        self._events.send(events, hostname=hostname)

    def sent(self, *, run: str, flow: str, queue: str) -> None:
        """The client has submitted the run."""
        self._events.send([_of_run("task-sent", run, flow, queue=queue, routing_key=queue)])

    def started(self, *, run: str, flow: str, hostname: str) -> None:
        """A worker has claimed the run's first node."""
        kinds = ("task-received", "task-started")
        self._events.send([_of_run(kind, run, flow) for kind in kinds], hostname=hostname)

    def ended(self, summary: RunSummary, *, hostname: str) -> None:
        """The run has ended; a worker has seen it, whoever ended it."""
        run, flow = summary.id, summary.flow
        if summary.state is RunState.SUCCEEDED:
            runtime = (summary.finished or 0) - (summary.started or summary.created)
            event = _of_run("task-succeeded", run, flow, result="'succeeded'", runtime=runtime)
        elif summary.state is RunState.FAILED:
            event = _of_run("task-failed", run, flow, exception=_why(summary), traceback="")
        else:
            event = _of_run("task-revoked", run, flow, **_REVOKED)
        self._events.send([event], hostname=hostname)

    def revoked(self, *, run: str, flow: str, nodes: Iterable[str], hostname: str) -> None:
        """Nodes that were sent are cancelled and will not run (again)."""
        events = [
            {
                "type": "task-revoked",
                "uuid": f"{run}.{node}",
                "name": f"{flow}.{node}",
                "root_id": run,
                **_REVOKED,
            }
            for node in nodes
        ]
        if events:
            self._events.send(events, hostname=hostname)


_REVOKED: Mapping[str, Any] = {"terminated": False, "signum": None, "expired": False}


def _of_run(kind: str, run: str, flow: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": run,
        "name": flow,
        "args": "()",
        "kwargs": shown_kwargs(run=run, flow=flow),
        "root_id": run,
        "retries": 0,
        **fields,
    }


def _why(summary: RunSummary) -> str:
    error = summary.error
    if error is None:
        return "the run failed"
    where = f"node {error.node!r}: " if error.node else ""
    return f"{where}{error.type}: {error.message}"
