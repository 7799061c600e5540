"""SECRETS: what a node reads of them, and where their values are hidden from then on.

In: a node's ``with``, a source of values. Out: values for its expressions; a Redactor for all that
leaves the attempt. Not here: where the values are kept (assembly.secrets).

The values that a process has read are hidden in its log and in what it prints as well, whoever
writes there: a library that logs the addresses it calls knows nothing of secrets.
"""

import logging
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any, TextIO, cast

from flowcore.engine.values.redaction import SHORTEST, Redactor
from flowcore.errors import SecretError
from flowcore.expr.secrets import secrets_in
from flowcore.forks import renew_after_fork
from flowcore.ports.secrets import SecretSource

__all__ = ["read_secrets"]

#: Values that a process hides in its log: the last ones, should they change all the time.
_MOST = 256


def read_secrets(params: Mapping[str, Any], source: SecretSource | None) -> dict[str, str]:
    """Return the secrets that a node's ``with`` reads; this process hides them from now on.

    Raises:
        SecretError: One of them cannot be read here.
    """
    if source is None:
        raise SecretError("secrets cannot be read where this node runs")
    values = {name: source.value(name) for name in secrets_in(params)}
    for name, value in values.items():
        if len(value) < SHORTEST:
            msg = (
                f"secret {name!r} has fewer than {SHORTEST} characters, which cannot be hidden: "
                "give the node such a value as an input"
            )
            raise SecretError(msg)
    _PROCESS.hide(values.values())
    return values


class _Process:
    """Hides secrets in what this process logs and prints."""

    def __init__(self) -> None:
        """Hide nothing yet."""
        self._lock = threading.Lock()
        self._values: dict[str, None] = {}
        self.redactor: Redactor | None = None

    def hide(self, values: Any) -> None:
        """Hide these values, too."""
        with self._lock:
            new = [value for value in values if value not in self._values]
            if new:
                self._values.update(dict.fromkeys(new))
                while len(self._values) > _MOST:
                    del self._values[next(iter(self._values))]
                self.redactor = Redactor(self._values)
            _hide_in_log()
            sys.stdout, sys.stderr = _hiding(sys.stdout), _hiding(sys.stderr)

    def renew(self) -> None:
        """Have a lock of its own in a child: a fork may copy one that is held."""
        self._lock = threading.Lock()

    def text(self, text: str) -> str:
        """Hide them in a text."""
        return text if self.redactor is None else self.redactor.text(text)


_PROCESS = _Process()
renew_after_fork(_PROCESS, _Process.renew)


def _hide_in_log() -> None:
    """Have every record of this process made without secrets, whatever handles it."""
    make = logging.getLogRecordFactory()
    if isinstance(make, _RecordFactory):
        return
    logging.setLogRecordFactory(_RecordFactory(make))


class _RecordFactory:
    """Makes log records without secrets."""

    def __init__(self, make: Any) -> None:
        """Make records as ``make`` does."""
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record: logging.LogRecord = self._make(*args, **kwargs)
        try:
            said = record.getMessage()
        except Exception:  # noqa: BLE001  (logging tells of it itself, with what was given)
            record.msg, record.args = f"{record.msg!r} {record.args!r}", ()
            said = record.msg
        if (hidden := _PROCESS.text(said)) != said:
            record.msg, record.args = hidden, ()
        if record.exc_info and record.exc_info[0] is not None:
            told = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            if (hidden := _PROCESS.text(told)) != told:
                # Handlers show the text, and have no exception to read more from.
                record.exc_text, record.exc_info = hidden, None
        return record


class _Hiding:
    """A text stream that hides secrets in what is written."""

    #: Found through whatever stands before this stream and passes on what it is asked.
    flowcore_hides = True

    def __init__(self, stream: TextIO) -> None:
        """Write to ``stream``."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text without secrets."""
        self._stream.write(_PROCESS.text(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write several."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """Do all else as the stream does."""
        return getattr(self._stream, name)


def _hiding(stream: Any) -> TextIO:
    if stream is None or getattr(stream, "flowcore_hides", False) is True:
        return cast("TextIO", stream)
    return cast("TextIO", _Hiding(stream))
