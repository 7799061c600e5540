"""Functions of every signature and form, each in three tempers: one gives, one naps, one fails."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from flowcore import Context

#: Longer than any timeout of the tests, and than what a worker waits for a thread that hangs.
LONG = 20.0


#: Seconds; a test with a clock of its own puts that in its place.
clock: Callable[[], float] = time.time


def _give() -> dict[str, Any]:
    return {"once": uuid.uuid4().hex, "began": clock()}


def _nap() -> None:
    ends = time.monotonic() + LONG
    while time.monotonic() < ends:
        time.sleep(0.02)  # a thread can be interrupted only between two calls


def _fail() -> None:
    raise ConnectionError("down")


def _hold() -> dict[str, Any]:
    began = clock()
    time.sleep(0.03)
    return {"began": began, "ended": clock()}


_TEMPERS: dict[str, Callable[[], Any]] = {
    "give": _give,
    "hold": _hold,
    "nap": _nap,
    "fail": _fail,
}


async def _later(temper: str) -> Any:
    if temper == "nap":
        await asyncio.sleep(LONG)
    return _TEMPERS[temper]()


class Called:
    """An instance that is called; it cannot be hashed, as many a dataclass."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, temper: str) -> None:
        self.temper = temper

    def __eq__(self, other: object) -> bool:
        return self is other

    def __call__(self, x: int = 0) -> Any:
        return _TEMPERS[self.temper]()


def _functions(temper: str) -> dict[str, Callable[..., Any]]:
    def bare() -> Any:
        return _TEMPERS[temper]()

    def one(x: int) -> Any:
        return _TEMPERS[temper]()

    def ctx_only(ctx: Context) -> Any:
        return _TEMPERS[temper]()

    def generator() -> Iterator[Any]:
        yield _TEMPERS[temper]()

    async def later() -> Any:
        return await _later(temper)

    async def stream() -> AsyncIterator[Any]:
        yield await _later(temper)

    called = Called(temper)
    return {
        function.__name__: function for function in (bare, one, ctx_only, generator, later, stream)
    } | {"called": called}


for _temper in _TEMPERS:
    for _name, _function in _functions(_temper).items():
        globals()[f"{_name}_{_temper}"] = _function

SIGNATURES = tuple(_functions("give"))


def undo(output: Any, path: str, name: str) -> None:
    """Note what was undone."""
    with open(path, "a") as file:  # noqa: PTH123  (one line, appended at once)
        file.write(f"{name}\n")
