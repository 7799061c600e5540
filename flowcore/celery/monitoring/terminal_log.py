"""A worker's log on a terminal: nothing that a node says controls it.

In: the handlers of Celery's loggers. Out: records whose text a terminal may be shown, where a
handler writes to one. Not here: files and pipes, which get what there is.
"""

import copy
import logging
from collections.abc import Callable
from typing import Any

from celery.signals import after_setup_logger, after_setup_task_logger

from flowcore.run.text import escape

__all__ = ["guard_terminals"]


def guard_terminals() -> None:
    """Escape what handlers of this worker write to a terminal."""
    for signal in (after_setup_logger, after_setup_task_logger):
        signal.connect(_guard, dispatch_uid="flowcore-terminal-log")


def _guard(*, logger: logging.Logger, **_: Any) -> None:
    for handler in logger.handlers:
        stream = getattr(handler, "stream", None)
        is_terminal = getattr(stream, "isatty", None)
        if is_terminal is not None and is_terminal() and not _is_guarded(handler):
            handler.format = _Escaping(handler.format)  # type: ignore[method-assign]


def _is_guarded(handler: logging.Handler) -> bool:
    return isinstance(handler.format, _Escaping)


class _Escaping:
    """The format of a handler, of a record without what controls a terminal.

    The record is escaped, and not the line: Celery's formatter adds colors.
    """

    def __init__(self, format_: Callable[[logging.LogRecord], str]) -> None:
        """Keep the handler's own format."""
        self._format = format_

    def __call__(self, record: logging.LogRecord) -> str:
        """Format a copy: other handlers may write the record to a file, as it is."""
        safe = copy.copy(record)
        safe.msg, safe.args = escape(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            safe.exc_text = logging.Formatter().formatException(record.exc_info)
        if safe.exc_text:
            safe.exc_text, safe.exc_info = escape(safe.exc_text), None
        if safe.stack_info:
            safe.stack_info = escape(safe.stack_info)
        return self._format(safe)
