"""Threads of this package that do one piece of work again and again.

In: the work, and an event that ends it. Out: a thread that outlives errors. Not here: the work.
"""

import logging
import threading
from collections.abc import Callable

from flowcore.errors import FlowcoreError

__all__ = ["start_loop"]

_log = logging.getLogger(__name__)

#: Seconds before another try, after an error.
_PAUSE = 1.0


def start_loop(work: Callable[[], None], name: str, stop: threading.Event) -> None:
    """Do a piece of work in a thread until told to stop; after an error it is tried again.

    Args:
        work: One round of it.
        name: The thread's name, as logs and debuggers show it.
        stop: Ends the thread between two rounds.
    """

    def run() -> None:
        while not stop.is_set():
            try:
                work()
            except FlowcoreError as error:
                _log.warning("agents: %s", error)
            except Exception:  # noqa: BLE001  (whatever it is, the next try may go better)
                _log.exception("agents: unexpected error in %s", name)
            else:
                continue
            stop.wait(_PAUSE)

    threading.Thread(target=run, name=f"flowcore-a2a-{name}", daemon=True).start()
