"""A call that is to end before it has begun ends as soon as it begins."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from flowcore.engine.attempts.generators import streaming
from flowcore.engine.attempts.invocation import CancelHandle, Invoker
from flowcore.errors import NodeTimeoutError

LONG = 600


def plain() -> str:
    return "ran"


async def later() -> str:
    await asyncio.sleep(LONG)
    return "ran"


async def chunks() -> AsyncIterator[str]:
    await asyncio.sleep(LONG)
    yield "ran"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "function", [plain, later, streaming(chunks, print)], ids=["plain", "later", "chunks"]
)
def test_a_timeout_before_the_call_begins_is_not_lost(function: Any) -> None:
    stopper = CancelHandle()
    stopper.force(NodeTimeoutError("timed out"))
    with pytest.raises(NodeTimeoutError, match="timed out"):
        Invoker().call(function, (), {}, stopper=stopper)


@pytest.mark.timeout(60)
def test_a_timeout_between_a_function_and_what_it_gives_to_await_is_not_lost() -> None:
    """An async generator is such a function: it is called in one thread and drained on a loop."""

    def gives() -> Any:
        return later()

    class Late(CancelHandle):
        def leave_thread(self) -> None:
            super().leave_thread()
            self.force(NodeTimeoutError("timed out"))

    with pytest.raises(NodeTimeoutError, match="timed out"):
        Invoker().call(gives, (), {}, stopper=Late())


def test_a_stop_that_comes_after_the_end_is_of_no_other_call() -> None:
    stopper = CancelHandle()
    assert Invoker().call(plain, (), {}, stopper=stopper, timeout=60) == "ran"
    stopper.force(NodeTimeoutError("timed out"))
    assert Invoker().call(plain, (), {}, stopper=stopper) == "ran"
