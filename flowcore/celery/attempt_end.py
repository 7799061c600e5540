"""The end of an attempt, as far as Celery is concerned: nothing of ours is raised into it.

In: an attempt whose function has ended. Out: it is recorded; or recorded as a failure of the
engine, if that stumbles over it. Not here: recording itself (node_runner).

Whatever Celery is told after a function has ended looks like the loss of its worker, and the
function would be run again.
"""

import logging
from dataclasses import replace

from flowcore.celery.node_runner import NodeHost
from flowcore.engine.attempts.attempt import AttemptResult
from flowcore.engine.values.store_writes import unrecordable
from flowcore.errors import ServiceError
from flowcore.ports.store import Outcome

__all__ = ["record_end", "record_unfinished"]

_log = logging.getLogger(__name__)


def record_end(host: NodeHost, attempt: AttemptResult, *, worker: str, queue: str) -> None:
    """Record an attempt, and go on with what it made ready.

    Args:
        host: Of this process.
        attempt: It has ended.
        worker: This worker's name.
        queue: The broker's queue the message came on.
    """
    try:
        host.record_and_go_on(attempt, worker=worker, queue=queue)
    except ServiceError as error:
        _out_of_reach(attempt, error)
    except Exception as trouble:  # noqa: BLE001  (whatever it is, it is recorded)
        _log.exception("the end of node %s was not recorded", _name(attempt))
        _record_trouble(host, attempt, trouble, worker=worker)


def record_unfinished(host: NodeHost, attempt: AttemptResult, *, worker: str) -> bool:
    """Record an attempt that is no end of its node; say whether it still counted.

    Args:
        host: Of this process.
        attempt: It has ended.
        worker: This worker's name.
    """
    try:
        return host.record(attempt, worker=worker).accepted
    except ServiceError as error:
        _out_of_reach(attempt, error)
    except Exception as trouble:  # noqa: BLE001  (whatever it is, it is recorded)
        _log.exception("what became of node %s was not recorded", _name(attempt))
        _record_trouble(host, attempt, trouble, worker=worker)
    return False


def _record_trouble(
    host: NodeHost, attempt: AttemptResult, trouble: Exception, *, worker: str
) -> None:
    ticket = attempt.ticket
    failure = unrecordable(trouble, attempt.plan.ids[ticket.node], ticket.attempt)
    told = replace(attempt, outcome=Outcome(kind="failed", failure=failure))
    try:
        host.record(told, worker=worker)
    except ServiceError as error:
        _out_of_reach(attempt, error)
    except Exception:  # noqa: BLE001
        _log.exception("nor could that be recorded")


def _out_of_reach(attempt: AttemptResult, error: ServiceError) -> None:
    """The store does not answer: nobody can know that the function has ended."""
    _log.error(
        "the end of node %s is not recorded, so it is run again when its lease is over: %s",
        _name(attempt),
        error,
    )


def _name(attempt: AttemptResult) -> str:
    return f"{attempt.plan.ids[attempt.ticket.node]} of run {attempt.ticket.run}"
