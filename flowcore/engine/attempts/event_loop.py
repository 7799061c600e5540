"""The event loop that a process's async nodes run on.

In: the first async node. Out: a loop that runs in a thread of its own, until it is closed. Not
here: calling nodes on it (invocation).
"""

import asyncio
import threading
from collections.abc import Iterable
from typing import Any

__all__ = ["NodeLoop"]

#: Seconds for which the end of the thread is waited for.
_PATIENCE = 2.0


class NodeLoop:
    """One event loop, started when it is first asked for."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._lock = threading.Lock()
        self._running: tuple[asyncio.AbstractEventLoop, threading.Thread] | None = None

    def get(self) -> asyncio.AbstractEventLoop:
        """Return the loop, which runs."""
        with self._lock:
            if self._running is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(
                    target=_run, args=(loop,), name="flowcore-async", daemon=True
                )
                thread.start()
                self._running = loop, thread
            return self._running[0]

    def close(self) -> None:
        """Cancel what is left on the loop, and end its thread; ``get`` starts another one."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            loop, thread = running
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_PATIENCE)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        loop.run_until_complete(_end(asyncio.all_tasks(loop)))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


async def _end(left: Iterable["asyncio.Task[Any]"]) -> None:
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
