"""Generators as nodes: chunks while they run, one output at the end."""

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from flowcore.engine.attempts.generators import (
    NodeLogger,
    is_generator,
    output_of,
    streaming,
    token,
)
from flowcore.engine.attempts.invocation import CancelHandle, Invoker


def words() -> Iterator[str]:
    yield "to "
    yield "be"


async def later() -> AsyncIterator[int]:
    yield 1
    yield 2


def with_return() -> Any:
    yield "thinking"
    return {"answer": 42}


def fails() -> Iterator[str]:
    yield "so far"
    raise ValueError("no further")


class Speaking:
    def __call__(self) -> Iterator[int]:
        yield 7


def test_generator_functions_are_known_from_others() -> None:
    for function in (words, later, with_return, Speaking()):
        assert is_generator(function)
    assert not is_generator(len)
    assert not is_generator(output_of)


@pytest.mark.parametrize(
    ("function", "chunks", "output"),
    [
        (words, ["to ", "be"], "to be"),
        (later, [1, 2], [1, 2]),
        (with_return, ["thinking"], {"answer": 42}),
        (Speaking(), [7], [7]),
    ],
)
def test_chunks_are_said_as_they_come_and_make_one_output(
    function: Any, chunks: list[Any], output: Any
) -> None:
    said: list[Any] = []
    call = streaming(function, said.append)
    assert Invoker().call(call, (), {}, stopper=CancelHandle()) == output
    assert said == chunks


def test_a_generator_that_fails_has_said_what_it_said() -> None:
    said: list[Any] = []
    with pytest.raises(ValueError, match="no further"):
        Invoker().call(streaming(fails, said.append), (), {}, stopper=CancelHandle())
    assert said == ["so far"]


def test_output_of_chunks() -> None:
    assert output_of([]) is None
    assert output_of(["a", 1]) == ["a", 1]
    assert output_of(["a"], 0) == 0
    assert token("a") == {"text": "a"}
    assert token([1]) == {"chunk": [1]}


def test_log_records_from_info_up_are_events_whatever_the_worker_logs() -> None:
    said: list[Any] = []
    logger = logging.getLogger("tests.streaming")
    logger.setLevel(logging.CRITICAL)
    log = NodeLogger(logger, {"run": "r"}, said.append)
    log.debug("not this")
    log.info("%d of %s", 1, "two")
    log.warning("100%")
    assert said == [
        {"level": "INFO", "message": "1 of two"},
        {"level": "WARNING", "message": "100%"},
    ]
    NodeLogger(logger, {}, None).info("goes nowhere")
