"""The Celery task that runs nodes, and the one that tells monitors of a run's end.

In: signed messages: a run's id, numbers. Out: the function has been called; the chord hook records
the attempt.
"""

import logging
from typing import Any

from celery.app.task import Task
from celery.exceptions import Ignore, Retry

from flowcore.celery.attempt_end import record_unfinished
from flowcore.celery.dispatcher import END_TASK, NODE_TASK, UNIT_TASK
from flowcore.celery.garbage_collection import GarbageCollection
from flowcore.celery.monitoring.task_events import RESULTS
from flowcore.celery.node_runner import NodeHost
from flowcore.celery.rerouting import Forwarding
from flowcore.celery.run_events import show_end
from flowcore.celery.services import Services
from flowcore.celery.signing import OtherVersion, accept
from flowcore.engine.attempts.attempt import AttemptResult
from flowcore.errors import FlowcoreError
from flowcore.ports.store import AttemptRef
from flowcore.ports.unit import UnitRef

__all__ = ["GuardedTask", "NodeFailed", "register_tasks"]


_log = logging.getLogger(__name__)

#: Imported by workers alone: clients need nothing of Celery's worker.
_REQUEST = "flowcore.celery.request:NodeRequest"
_SIGNED = "flowcore.celery.request:SignedRequest"
_STRATEGY = "flowcore.celery.monitoring.run_log:strategy"


class GuardedTask(Task[Any, Any]):
    """Base class of the app's tasks: the worker survives them, however they end."""

    Request = "flowcore.celery.request:GuardedRequest"


class NodeFailed(Exception):  # noqa: N818  (reads as a sentence in Celery's log and in Flower)
    """Tells Celery that a node failed; the record itself is in the store."""


#: One for each process, as Python's own collector is.
garbage = GarbageCollection()


def register_tasks(app: Any) -> None:
    """Register the tasks on a Celery app.

    Args:
        app: The app, with a ``WorkerBootstrap`` as ``app.flowcore``, which Celery's types do not
            know.
    """

    @app.task(  # type: ignore[untyped-decorator]  # see Args
        bind=True,
        name=NODE_TASK,
        Request=_REQUEST,
        Strategy=_STRATEGY,
        shared=False,
        ignore_result=True,
        acks_late=True,
        throws=(NodeFailed,),
        max_retries=None,
        track_started=True,
    )
    def node(self: Any, *_: Any, **_given: Any) -> str:
        request: Any = self.request
        host = app.flowcore.host()
        given = _accept(host.services, request, NODE_TASK)
        ticket = AttemptRef(run=given["run"], node=given["node"], attempt=given["attempt"])
        plan, forwarding = given["plan"], app.flowcore.forwarding()
        forwarding.enter(_queue(request))
        done = host.run(ticket, plan, worker=request.hostname)
        if done is None:
            # A duplicate, which has nothing to show, or a message that its run's end overtook.
            host.show_cancelled(ticket, plan, worker=request.hostname)
            raise Ignore
        if done.outcome.kind not in RESULTS:
            garbage.note()
        if done.outcome.kind in ("retry", "waiting", "cancelled"):
            _record_unfinished(host, done, plan, forwarding, worker=request.hostname)
        request.flowcore_attempt = done
        if word := RESULTS.get(done.outcome.kind):
            return word
        # The cause gives Flower the node's own traceback.
        raise NodeFailed(_sentence(done)) from done.error

    # Each of its nodes has a row of its own, so it has none.
    @app.task(  # type: ignore[untyped-decorator]  # see Args
        bind=True,
        name=UNIT_TASK,
        Request=_REQUEST,
        Strategy=_STRATEGY,
        shared=False,
        ignore_result=True,
        acks_late=True,
        max_retries=None,
        send_events=False,
    )
    def unit(self: Any, *_: Any, **_given: Any) -> None:
        request: Any = self.request
        host = app.flowcore.host()
        given = _accept(host.services, request, UNIT_TASK)
        queue = _queue(request)
        app.flowcore.forwarding().enter(queue)
        ticket = UnitRef(run=given["run"], unit=given["unit"])
        host.run_unit(ticket, given["plan"], worker=request.hostname, queue=queue)

    @app.task(  # type: ignore[untyped-decorator]  # see Args
        bind=True,
        name=END_TASK,
        Request=_SIGNED,
        Strategy=_STRATEGY,
        shared=False,
        ignore_result=True,
        send_events=False,
    )
    def end(self: Any, *_: Any, **_given: Any) -> None:
        services = app.flowcore.services()
        given = accept(services.keys, self.request, task=END_TASK, chord=False)
        show_end(services, given["run"], worker=self.request.hostname)


def _accept(services: Services, request: Any, task: str) -> dict[str, Any]:
    """Return what a message says; a run that another version has sent is stopped with a word.

    Raises:
        Reject: The message is not to be obeyed.
    """
    try:
        return accept(services.keys, request, task=task, chord=True)
    except OtherVersion as error:
        try:
            services.store.stop(error.run, reason=error.sentence)
        except FlowcoreError as trouble:
            _log.warning("run %s was not stopped: %s", error.run, trouble)
        raise


def _queue(request: Any) -> str:
    """The broker's queue that a message came on."""
    return str((request.delivery_info or {}).get("routing_key") or "")


def _record_unfinished(
    host: NodeHost, done: AttemptResult, plan: str, forwarding: Forwarding, *, worker: str
) -> None:
    """Record what is no end in Celery's eyes: the chord hook is not called for it.

    Raises:
        Retry: The node is tried again, or waits.
        Ignore: Its run was stopped, or another worker has the node by now.
    """
    accepted = record_unfinished(host, done, worker=worker)
    # A retry that was not heard would open the row of a node that another worker has ended.
    if not accepted or host.show_cancelled(done.ticket, plan, worker=worker):
        raise Ignore
    forwarding.send_on(done, worker=worker)
    text = _sentence(done)
    delay: Any = done.outcome.delay  # its type says numbers.Real, which no float is to mypy
    if done.outcome.kind == "waiting":
        # Monitors have no better word for it.
        raise Retry(done.outcome.wait.reason if done.outcome.wait else text)
    if done.outcome.kind == "retry":
        raise Retry(text, exc=NodeFailed(text), when=delay) from done.error
    raise NodeFailed(text) from done.error


def _sentence(done: AttemptResult) -> str:
    failure = done.outcome.failure
    return f"{failure.type}: {failure.message}" if failure else done.outcome.kind
