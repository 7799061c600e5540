"""Threads for blocking calls, and the calls of the async twins.

In: a call. Out: its answer, from another thread; or a refusal that names the way out.
"""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from flowcore.errors import BlockingCallError, UsageError
from flowcore.forks import PerProcess
from flowcore.nodes.resolve import being_imported

__all__ = ["in_thread", "refuse_in_import", "refuse_in_loop"]

_T = TypeVar("_T")

#: Threads that make calls on behalf of ``await``; asyncio's own pool has only a few.
_WAITERS = PerProcess(
    lambda: ThreadPoolExecutor(max_workers=256, thread_name_prefix="flowcore-wait")
)


async def in_thread(call: Callable[..., _T], *args: Any) -> _T:
    """Run a blocking call without blocking the event loop."""
    here = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_WAITERS.get(), here.run, call, *args)


def refuse_in_loop(call: str, twin: str) -> None:
    """Raise when called inside a running event loop.

    Raises:
        BlockingCallError: It is; the error names the async twin.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise BlockingCallError(call, twin)


def refuse_in_import() -> None:
    """Raise when called while a user's module is imported to find a node.

    Every worker that imports it would start one more run, and wait for it in a slot of its own.

    Raises:
        UsageError: It is; the error names the module and the way out.
    """
    if module := being_imported():
        msg = (
            f"module {module!r} starts a run while it is imported; "
            'put that under if __name__ == "__main__":'
        )
        raise UsageError(msg)
