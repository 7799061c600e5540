"""Nodes that note each time they begin, and end their process in some way."""

import ctypes
import os
import signal
from pathlib import Path
from typing import Any

from flowcore import Context


def _note(ctx: Context, log: str) -> None:
    with Path(log).open("a") as file:
        file.write(f"{ctx.run_id} {ctx.node_id} {ctx.attempt}\n")


def _die(way: str) -> None:
    if way == "exit 0":
        os._exit(0)
    if way == "exit 3":
        os._exit(3)
    if way == "segfault":
        ctypes.string_at(0)
    os.kill(os.getpid(), signal.SIGKILL)


def _is_first(mark: str) -> bool:
    try:
        Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def begin(ctx: Context, log: str, value: Any = None) -> Any:
    """Begin, and come back at once."""
    _note(ctx, log)
    return value


def die_once(ctx: Context, log: str, mark: str, way: str, value: Any = None) -> Any:
    """Begin, and end the process the first time."""
    _note(ctx, log)
    if _is_first(mark):
        _die(way)
    return value


def fail(ctx: Context, log: str, mark: str, way: str) -> None:
    """Begin, and fail."""
    _note(ctx, log)
    raise ValueError("not today")


def spin(ctx: Context, log: str, mark: str, way: str) -> None:
    """Begin, and take too long without a word."""
    _note(ctx, log)
    ctypes.PyDLL(None).sleep(1000)


def die_instead(mark: str, way: str) -> str:
    """A fallback that ends the process the first time."""
    if _is_first(mark):
        _die(way)
    return "instead"


def fail_once(ctx: Context, log: str, mark: str, way: str) -> str:
    """Begin, and fail the first time."""
    _note(ctx, log)
    if _is_first(mark + ".failed"):
        raise ValueError("not today")
    return "at last"
