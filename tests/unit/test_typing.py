"""What type checkers see of decorated functions, flows and runs.

``make lint`` checks this file: an ``assert_type`` that does not hold is an error there, and so is a
``type: ignore`` on a line that has none.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, assert_type

import pytest

from flowcore import ExecutionResult, Flow, Retry, Run, node, parallel
from flowcore.graph.operators import Group, Step
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


@node
async def pages(url: str) -> AsyncIterator[str]:
    yield url


@node
def words(text: str) -> Iterator[str]:
    yield from text.split()


def test_generators_and_operators_keep_theirs() -> None:
    assert_type(pages("a"), AsyncIterator[str])
    assert list(assert_type(words("a b"), Iterator[str])) == ["a", "b"]
    with Flow("typed") as flow:
        assert_type(fetch >> total, Group)
        assert_type(fetch >> [double, total], Group)
        assert_type(flow.chain([fetch, double], total), Group)
        assert_type(fetch.step("other", url="x"), Step)
        assert_type(parallel(fetch, double >> total), Group)


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
