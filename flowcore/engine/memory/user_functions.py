"""Calling a function of the user's that is no node: by name or itself, sync or async.

In: ``module:callable``, or a callable. Out: what it returns. Not here: node functions
(attempts.invocation).
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flowcore.nodes.resolve import resolve

__all__ = ["call"]


def call(function: str | Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call it from whatever thread, and wait for what it returns.

    Raises:
        UnresolvedError: The name leads nowhere.
        Exception: Whatever the function raises.
    """
    found = resolve(function).function if isinstance(function, str) else function
    value = found(*args, **kwargs)
    if not inspect.isawaitable(value):
        return value
    # This thread may be that of an event loop, which cannot wait for itself.
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, _awaited(value)).result()


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value
