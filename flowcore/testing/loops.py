"""Running nodes from inside a running event loop, as async tests do.

In: a call. Out: its answer. Not here: the loop of async nodes (engine.attempts.event_loop).
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["outside_of_loops"]

_T = TypeVar("_T")


def outside_of_loops(call: Callable[[], _T]) -> _T:
    """Make a call where no event loop runs: a node may start one of its own, as on a worker."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return call()
    answers: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(call())
        except BaseException as error:  # noqa: BLE001  (it is raised where the call was made)
            errors.append(error)

    here = contextvars.copy_context()
    thread = threading.Thread(target=here.run, args=(run,), name="flowcore-test")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return answers[0]
