"""What type checkers see of decorated functions, flows and runs.

``make lint`` checks this file: an ``assert_type`` that does not hold is an error there, and so is a
``type: ignore`` on a line that has none.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, assert_type

import pytest

from flowcore import ExecutionResult, Flow, Retry, Run, node
from flowcore.ports.listing import Listing
from flowcore.run.record import RunSummary


@node
def fetch(url: str) -> list[int]:
    return [len(url)]


@node(retry=Retry(max_attempts=3), timeout="30s")
def double(item: int, by: int = 2) -> int:
    return item * by


@node
async def total(items: list[int]) -> int:
    return sum(items)


def test_a_decorated_function_keeps_its_types() -> None:
    assert assert_type(fetch("abc"), list[int]) == [3]
    assert assert_type(double(3, by=4), int) == 12
    coroutine = assert_type(total([1, 2]), Coroutine[Any, Any, int])
    assert asyncio.run(coroutine) == 3
    plain: Callable[[int, int], int] = double
    assert plain(2, 2) == 4
    with pytest.raises(TypeError):
        double(item="no", by=[], to=1)  # type: ignore[arg-type, call-arg]
    with pytest.raises(TypeError):
        fetch()  # type: ignore[call-arg]


def test_a_configured_function_keeps_them_too() -> None:
    assert assert_type(double.configured(timeout="1m")(3), int) == 6


async def _runs(flow: Flow, run: Run) -> None:
    """Never called: it would need a server."""
    assert_type(flow.run({}), ExecutionResult)
    assert_type(await flow.arun({}), ExecutionResult)
    assert_type(flow.enqueue({}), Run)
    assert_type(await flow.aenqueue({}), Run)
    assert_type(Run.get("x"), Run)
    assert_type(Run.list(limit=3), Listing[RunSummary])
    assert_type(run.wait(), ExecutionResult)
    assert_type(await run.await_end(), ExecutionResult)
    run.wait(timeout=[])  # type: ignore[arg-type]
