"""Nodes that print, in all the ways there are."""

# ruff: noqa: T201  (printing is what this is about)

import asyncio
import sys
import threading
from typing import Any

from flowcore.nodes.context import Context


def count(name: str, lines: int) -> str:
    """Print numbered lines."""
    for at in range(lines):
        print(name, at)
    return name


async def count_later(name: str, lines: int) -> str:
    """Print numbered lines, and let others have their turn between them."""
    for at in range(lines):
        print(name, at)
        await asyncio.sleep(0)
    return name


def bare() -> None:
    """Print without being given anything."""
    print("bare")
    print("without an end", end="")


def in_all_ways(ctx: Context) -> None:
    """Print text, bytes, from a thread; log in between."""
    print("first")
    ctx.logger.info("second")
    sys.stdout.buffer.write(b"third \xff\n")
    print("x" * 25_000)
    thread = threading.Thread(target=print, args=("from a thread of its own",))
    thread.start()
    thread.join()
    print("last \x1b[31m")


def fail_and_print() -> None:
    """Print, then fail."""
    print("about to fail")
    raise ValueError("no luck")


def instead(error: Any) -> str:
    """Print in place of a node that has failed."""
    print("instead of", error["type"])
    return "instead"


def item(item: int, ctx: Context) -> int:
    """Log and print one item."""
    ctx.logger.info("item %d", item)
    print("printed", item)
    return item
