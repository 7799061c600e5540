"""Celery tasks of somebody else: sent to their own workers, which tell of their ends by ``link``.

In: a task's name and arguments. Out: its message, and at its end a signal for the node that waits.

Workers of such tasks know nothing of flowcore: they send what ``link`` names, as for any task. It
comes back to one of ours, with the signed name of the node that it is for: nobody else can answer.
"""

import json
import logging
from collections.abc import Sequence
from typing import Any

from kombu.exceptions import EncodeError

from flowcore.celery.kombu.producers import Producers
from flowcore.celery.monitoring.task_events import BROKER_TROUBLE
from flowcore.celery.signing import SIGNATURE, Keyring, sign_about, verify_about
from flowcore.errors import BrokerUnreachableError, UnsupportedValueError
from flowcore.ports.external_tasks import answer_name, task_id
from flowcore.ports.store import AttemptRef, RunStore
from flowcore.run.wire import pack, unpack

__all__ = ["DONE_TASK", "FAILED_TASK", "CelerySender", "register_answers"]

_log = logging.getLogger(__name__)

DONE_TASK = "flowcore.task_done"
FAILED_TASK = "flowcore.task_failed"

#: What Celery keeps of an error that cannot be pickled: its module, its class, its arguments.
_WRAPPER = "UnpickleableExceptionWrapper"
_ARGUMENTS = 2

#: Where tasks go that name no queue: Celery's own default.
_DEFAULT = "celery"


class CelerySender:
    """Implements ``TaskSender``."""

    def __init__(self, app: Any, producers: Producers, keys: Keyring, *, queue: str) -> None:
        """Send tasks whose answers come back on ``queue``."""
        self._app = app
        self._producers = producers
        self._keys = keys
        self._queue = queue

    def send(
        self,
        task: str,
        args: list[Any],
        kwargs: dict[str, Any],
        *,
        queue: str | None,
        ticket: AttemptRef,
    ) -> str:
        """Send a task; its id names the attempt, so that Flower shows what it belongs to."""
        id = task_id(ticket)
        about = {"run": ticket.run, "node": ticket.node, "attempt": ticket.attempt}
        message = self._app.amqp.as_task_v2(
            id,
            task,
            args,
            kwargs,
            root_id=ticket.run,
            callbacks=[self._answer(DONE_TASK, about)],
            errbacks=[self._answer(FAILED_TASK, about)],
            create_sent_event=False,
        )
        try:
            with self._producers.batch() as producer:
                producer.publish(
                    message.body,
                    exchange="",
                    routing_key=queue or _DEFAULT,
                    serializer="json",
                    headers=message.headers,
                    delivery_mode=2,
                    **message.properties,
                )
        except EncodeError as error:
            msg = f"the arguments of the Celery task {task} are not plain data: {error}"
            raise UnsupportedValueError(msg) from error
        except BROKER_TROUBLE as error:
            msg = f"the Celery task {task} could not be sent: {error}"
            raise BrokerUnreachableError(msg) from error
        return id

    def revoke(self, tickets: Sequence[AttemptRef]) -> None:
        """Have tasks not begin."""
        try:
            self._app.control.revoke([task_id(ticket) for ticket in tickets])
        except BROKER_TROUBLE as error:
            _log.warning("%d tasks were not revoked: %s", len(tickets), error)

    def _answer(self, task: str, about: dict[str, Any]) -> dict[str, Any]:
        """Return the callback that the task's worker sends: a Celery signature, as plain data."""
        signed = {**about, SIGNATURE: sign_about(self._keys, task, about)}
        return {
            "task": task,
            "args": [],
            "kwargs": signed,
            "options": {"queue": self._queue, "ignore_result": True},
            "subtask_type": None,
            "immutable": False,
        }


def register_answers(app: Any) -> None:
    """Register what workers of tasks send at their ends."""

    @app.task(name=DONE_TASK, bind=True, shared=False, ignore_result=True, send_events=False)  # type: ignore[untyped-decorator]
    def done(self: Any, result: Any = None, **given: Any) -> None:
        _tell(app, DONE_TASK, self.request, given, {"result": result})

    @app.task(name=FAILED_TASK, bind=True, shared=False, ignore_result=True, send_events=False)  # type: ignore[untyped-decorator]
    def failed(self: Any, task_id: Any = None, *_: Any, **given: Any) -> None:
        error = _error_of(app, str(task_id))
        _tell(app, FAILED_TASK, self.request, given, {"error": error})


def _tell(app: Any, task: str, request: Any, given: dict[str, Any], answer: dict[str, Any]) -> None:
    """Give a node the answer it waits for."""
    services = app.flowcore.services()
    about = verify_about(services.keys, task, request, given)
    ticket = AttemptRef(run=about["run"], node=about["node"], attempt=about["attempt"])
    store: RunStore = services.store
    try:
        value = pack(answer, what=f"the answer of a task to run {ticket.run}")
    except UnsupportedValueError as error:  # Celery's JSON knows more types than ours
        value = pack({"error": {"type": type(error).__name__, "message": str(error)}})
    advance = store.signal(ticket.run, answer_name(ticket), value, most=1)
    if advance is None or not advance.accepted:
        _log.info("a task has answered run %s, which has ended", ticket.run)
    elif advance.dispatch is not None:
        services.dispatcher.publish(advance.dispatch, store.get_plan(advance.dispatch.plan))


def _error_of(app: Any, task_id: str) -> dict[str, str]:
    """Return what is known of a failure: little, unless its results are kept where ours are."""
    unknown = {"type": "failed", "message": f"see the log of its worker for task {task_id}"}
    try:
        found = _result_of(app.backend, task_id)
    except Exception as trouble:  # noqa: BLE001  (another backend's, or somebody else's data)
        _log.debug("nothing is known of task %s: %s", task_id, trouble)
        return unknown
    error = found.get("result")
    if found.get("status") != "FAILURE" or not isinstance(error, dict) or "exc_type" not in error:
        return unknown
    told = error.get("exc_message")
    words: Sequence[Any] = told if isinstance(told, list | tuple) else [told]
    kind, module = str(error["exc_type"]), str(error.get("exc_module") or "")
    if kind == _WRAPPER and len(words) > _ARGUMENTS and isinstance(words[_ARGUMENTS], list | tuple):
        module, kind, words = str(words[0]), str(words[1]), words[_ARGUMENTS]
    return {"type": kind, "module": module, "message": ", ".join(map(str, words))}


def _result_of(backend: Any, task_id: str) -> dict[str, Any]:
    """Decode a task's result as its app encoded it: as JSON, if it names no other encoding."""
    raw = backend.get(backend.get_key_for_task(task_id))
    try:
        found: dict[str, Any] = json.loads(raw)
    except ValueError:
        found = unpack(raw)
    return found
