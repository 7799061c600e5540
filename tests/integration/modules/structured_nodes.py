"""Node functions of the tests of maps, loops, branches, sub-flows and ends."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from flowcore import Context


class Rating(BaseModel):
    stars: int
    text: str = "fine"


def rate(stars: Any) -> Rating:
    return {"stars": stars}  # type: ignore[return-value]  # what it says is held against it


def echo(value: Any) -> Any:
    return value


def double(item: int) -> int:
    return 2 * item


def add(item: int, to: int) -> int:
    return item + to


def label(name: str, size: int, index: int) -> str:
    return f"{index}:{name}:{size}"


def total(upstream: list[int]) -> int:
    return sum(upstream)


def count_up(state: int) -> int:
    return state + 1


def halve(state: float) -> float:
    return state / 2


def greet(name: str) -> str:
    return f"hello {name}"


def odd_fails(item: int) -> int:
    if item % 2:
        raise ValueError(f"{item} is odd")
    return item


def log_or_fail(item: int, log: str) -> int:
    note(f"{item}", log)
    return odd_fails(item)


def fail_while(item: Any, path: str, log: str) -> Any:
    """Fail upon one item as long as a file exists; note each call."""
    note(f"{item}", log)
    if item == 2 and Path(path).exists():
        raise ConnectionError("not yet")
    return item


def note(what: str, log: str) -> str:
    with Path(log).open("a") as file:
        file.write(f"{what}\n")
    return what


def busy(item: int, log: str, seconds: float = 0.05) -> int:
    """Note when it begins and ends."""
    note(f"+{item}", log)
    time.sleep(seconds)
    note(f"-{item}", log)
    return item


def until_gone(path: str) -> None:
    while Path(path).exists():
        time.sleep(0.01)


def fail(message: str = "no luck") -> None:
    raise RuntimeError(message)


def refuse_connection(log: str) -> None:
    note("tried", log)
    raise ConnectionRefusedError("nobody is there")


def unbook(output: str, log: str) -> None:
    note(f"undo {output}", log)


def key_of(item: int, ctx: Context) -> str:
    del item
    return ctx.idempotency_key


def give(count: int, log: str = "") -> Iterator[int]:
    """Give numbers one by one."""
    if log:
        note("source", log)
    yield from range(count)


def give_gated(count: int, gate: str) -> Iterator[int]:
    """Give numbers, the last of them only when a file is gone."""
    for number in range(count):
        if number == count - 1:
            until_gone(gate)
        yield number


async def agive(count: int) -> AsyncIterator[int]:
    for number in range(count):
        await asyncio.sleep(0)
        yield number


def listed(count: int) -> list[int]:
    return list(range(count))


def give_until_it_breaks(count: int, gate: str, log: str) -> Iterator[int]:
    """Give numbers; break in the middle as long as a file exists."""
    note("source", log)
    for number in range(count):
        if number == count // 2 and Path(gate).exists():
            raise ConnectionError("the source broke")
        yield number


def give_and_die(count: int, gate: str, log: str) -> Iterator[int]:
    """Give numbers; kill the own process in the middle as long as a file exists."""
    note("source", log)
    for number in range(count):
        if number == count // 2 and Path(gate).exists():
            while f"+{number - 1}" not in Path(log).read_text():
                time.sleep(0.01)
            Path(gate).unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        yield number


def hold(path: str, log: str) -> None:
    """Note that it has begun, and wait until a file is gone."""
    note("holds", log)
    until_gone(path)


def hold_and_fail(path: str) -> None:
    """Wait until a file is gone, and fail."""
    until_gone(path)
    raise ValueError("no luck")


def give_and_break(log: str) -> Iterator[int]:
    """Give one number; break when somebody holds it."""
    yield 0
    while "holds" not in (Path(log).read_text() if Path(log).exists() else ""):
        time.sleep(0.01)
    raise ValueError("the source broke")


def give_slowly(count: int, log: str) -> Iterator[int]:
    """Give numbers from 1 on, each when there is a line for the one before, or does not come."""
    for number in range(1, count + 1):
        yield number
        patience = time.monotonic() + 2
        while time.monotonic() < patience:
            if len(Path(log).read_text().split() if Path(log).exists() else ()) >= number:
                break
            time.sleep(0.01)
