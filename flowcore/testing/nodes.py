"""The node functions of the conformance suite: importable wherever a backend runs nodes."""

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowcore.nodes.context import Context

__all__ = [
    "add", "add_later", "fail", "fail_until", "hold", "inputs", "kill_once", "nap", "note", "odd",
    "say", "seen", "stamp", "told",
]  # fmt: skip


def add(upstream: Any = 0, by: int = 1) -> int:
    """Add ``by`` to what comes in; maps of several are summed."""
    values = upstream.values() if isinstance(upstream, dict) else [upstream]
    return sum(value for value in values if isinstance(value, int)) + by


async def add_later(upstream: Any = 0, by: int = 1) -> int:
    """Add like ``add``, after others had their turn."""
    await asyncio.sleep(0)
    return add(upstream, by)


def seen(upstream: Any = None) -> Any:
    """Give what comes in, as it is."""
    return upstream


def note(path: str, text: str) -> None:
    """Add a line to a file."""
    with Path(path).open("a") as file:
        file.write(f"{text}\n")


def inputs(ctx: Context) -> dict[str, Any]:
    """Give the run's input."""
    return dict(ctx.inputs)


def odd(upstream: int = 0) -> dict[str, Any]:
    """Say whether a number is odd, for conditions."""
    return {"value": upstream, "odd": bool(upstream % 2)}


def nap(seconds: float, upstream: Any = None) -> Any:
    """Take some time."""
    time.sleep(seconds)
    return upstream


def stamp(seconds: float = 0.0) -> list[float]:
    """Take some time; give when it began and ended, in seconds of a clock all processes share."""
    began = time.monotonic()
    time.sleep(seconds)
    return [began, time.monotonic()]


def told(error: dict[str, str]) -> dict[str, str]:
    """As a fallback: give the error that led to it."""
    return error


def fail(message: str = "as it must") -> None:
    """Fail."""
    raise ValueError(message)


def fail_until(attempt: int, ctx: Context) -> int:
    """Fail until this attempt; give its number."""
    if ctx.attempt < attempt:
        raise ConnectionError(f"attempt {ctx.attempt} fails")
    return ctx.attempt


def hold(path: str, ctx: Context) -> str:
    """Make a file, and wait to be stopped, or for a second file beside it."""
    Path(path).touch()
    go = Path(f"{path}.go")
    while not go.exists():
        if ctx.stopping.wait(0.02):
            Path(f"{path}.stopped").touch()
            return "stopped"
    return "went on"


def kill_once(path: str, ctx: Context) -> int:
    """Kill the process that runs this node, the first time."""
    mark = Path(path)
    if not mark.exists():
        mark.touch()
        os._exit(70)
    return ctx.attempt


def say(words: list[str]) -> Iterator[str]:
    """Give words, one after the other."""
    yield from words
