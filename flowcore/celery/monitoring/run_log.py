"""One line per run in a worker's log, instead of two of Celery's per message.

In: Celery's records of flowcore's own tasks. Out: the same at the level DEBUG. Not here: the line
of a run (node_runner), and what went wrong, which is told as before.
"""

import logging
from typing import Any

from celery import current_task
from celery.app import trace
from celery.worker.strategy import default
from celery.worker.strategy import logger as received

__all__ = ["hide_details", "strategy"]

_OURS = "flowcore."
_DETAILS = frozenset({trace.LOG_SUCCESS, trace.LOG_RETRY, trace.LOG_IGNORED})


def strategy(task: Any, app: Any, consumer: Any) -> Any:
    """Receive messages as Celery does, and tell of each at DEBUG."""
    return default(task, app, consumer, info=received.debug)


class _Details(logging.Filter):
    """Lowers what is told of a task's good end, of retries, and of what was ignored."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.msg not in _DETAILS or not _is_ours():
            return True
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)


_FILTER = _Details()


def hide_details() -> None:
    """Lower the level of such records in this process and its children."""
    logging.getLogger(trace.__name__).addFilter(_FILTER)  # adds it once


def _is_ours() -> bool:
    name = getattr(current_task, "name", None)
    return isinstance(name, str) and name.startswith(_OURS)
