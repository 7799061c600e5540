"""Handling of a refused message: it is counted, logged, and kept aside.

In: messages and reasons. Out: the log of refusals, written from a thread of its own, since the
worker's loop may not wait for a store. Not here: who refuses (validation, signing), the
acknowledgement (redis_consumer).
"""

import contextlib
import logging
import queue
import reprlib
import threading
import time
from collections.abc import Callable
from typing import Any

from flowcore.errors import FlowcoreError
from flowcore.forks import renew_after_fork
from flowcore.ports.refusals import Refusal, RefusalLog

__all__ = ["Refuser", "shown", "shown_error"]

_log = logging.getLogger(__name__)

#: Characters of a message that are kept.
_SHOWN = 1000

#: Refusals that wait to be written; of more only the number is kept.
_WAITING = 500

#: Seconds between two writings: a flood of messages is written together.
_PAUSE = 0.2

_repr = reprlib.Repr()
_repr.maxlevel, _repr.maxstring, _repr.maxother = 5, 300, 200
_repr.maxdict, _repr.maxlist, _repr.maxlong = 30, 12, 60


class Refuser:
    """Refuses messages in one process; safe across threads and forks."""

    def __init__(self, log: Callable[[], RefusalLog]) -> None:
        """Write to what ``log`` returns, when there is something to write."""
        self._open = log
        self._reset()
        renew_after_fork(self, Refuser._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._waiting: queue.Queue[Refusal] = queue.Queue(_WAITING)
        self._uncounted = 0
        self._thread: threading.Thread | None = None
        self.count = 0
        """Messages that this process has refused."""

    def refuse(self, message: Any, reason: str, *, queue: str = "", worker: str = "") -> None:
        """Count a message, log why it is refused, and keep it aside.

        Args:
            message: Its raw form, whatever that is.
            reason: Why, as half a sentence about it.
            queue: Where it was waiting.
            worker: Who refuses it.
        """
        self.keep(message, reason, queue=queue, worker=worker)
        where = f" on {queue}" if queue else ""
        _log.warning("refused a message%s: %s (%d refused so far)", where, reason, self.count)

    def keep(self, message: Any, reason: str, *, queue: str = "", worker: str = "") -> None:
        """Count a message and keep it aside; ``refuse`` without a word in the log."""
        refusal = Refusal(
            time=time.time(), queue=queue, reason=reason, shown=shown(message), worker=worker
        )
        with self._lock:
            self.count += 1
            self._uncounted += 1
            with contextlib.suppress(_Full):
                self._waiting.put_nowait(refusal)
            self._ensure_thread()

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._write, name="flowcore-refusals", daemon=True
            )
            self._thread.start()

    def _write(self) -> None:
        """Write what waits, until nothing does; a store out of reach is waited for."""
        while True:
            with self._lock:
                refusals = _drained(self._waiting)
                count, self._uncounted = self._uncounted, 0
                if not count:
                    self._thread = None
                    return
            try:
                self._open().keep(refusals, count=count)
            except FlowcoreError as error:
                _log.warning("%d refused messages were not kept aside: %s", count, error)
            except Exception:  # noqa: BLE001
                _log.exception("%d refused messages were not kept aside", count)
            time.sleep(_PAUSE)


_Full = queue.Full


def _drained(waiting: "queue.Queue[Refusal]") -> list[Refusal]:
    found: list[Refusal] = []
    with contextlib.suppress(queue.Empty):
        while True:
            found.append(waiting.get_nowait())
    return found


def shown(message: Any) -> str:
    """Show the beginning of a message: printable ASCII, whatever is in it."""
    try:
        text = _repr.repr(message)
    except Exception:  # noqa: BLE001  (foreign objects may raise when they are shown)
        text = f"<{type(message).__name__}>"
    return ascii(text[:_SHOWN])[1:-1][:_SHOWN]


def shown_error(error: BaseException) -> str:
    """Name an error with a few characters of what it says."""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001
        said = ""
    return ascii(f"{type(error).__name__}: {said[:200]}")[1:-1]
