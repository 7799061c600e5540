"""The campaign's node functions: slow enough to be hit, wrong if anything upstream is.

In: what a flow gives them. Out: values, and two lines per execution in a log outside the store.
Not here: what a run should come to (flows).
"""

import json
import os
import resource
import signal
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowcore import Context

__all__ = [
    "GATE",
    "LOG",
    "big",
    "fold",
    "folded",
    "gated",
    "hog",
    "items",
    "mixed",
    "once",
    "poison",
    "undo",
    "work",
]

#: Names the file to which every execution appends its begin and its end.
LOG = "FAULTS_LOG"

#: Names a directory: a run that has a file in it has been mended.
GATE = "FAULTS_GATES"

_BIG = 20 * 2**20
_HOG = 256 * 2**20


def mixed(upstream: Any, salt: int, bad: bool = False, **_: Any) -> dict[str, int]:
    """What ``work`` returns, as a pure function: mixes the predecessors' values in any order."""
    if bad:
        raise ValueError("this node always fails")
    if isinstance(upstream, dict) and "value" in upstream:
        upstream = {"": upstream}
    values = [part["value"] for part in (upstream or {}).values() if part]
    return {"value": (sum(31 * value + 7 for value in values) + salt) % 99_991}


def work(
    ctx: Context,
    upstream: Any,
    salt: int,
    seconds: float,
    bad: bool = False,
    flaky: bool = False,
    tells: int = 0,
) -> dict[str, int]:
    """Sleep, emit, fail as told; depend on everything upstream."""
    _note("B", ctx)
    try:
        for told in range(tells):
            ctx.emit("told", number=told)
        time.sleep(seconds)
        if flaky and ctx.attempt == 1:
            raise ConnectionError("the first attempt fails")
        return mixed(upstream, salt, bad)
    finally:
        _note("E", ctx)


def folded(given: Any, salt: int) -> int:
    """What ``fold`` returns: a number that depends on all that it was given, and on its order."""
    return (zlib.crc32(json.dumps(given, sort_keys=True).encode()) + salt) % 99_991


def fold(
    ctx: Context,
    given: Any,
    salt: int,
    seconds: float,
    bad: bool = False,
    flaky: bool = False,
    tells: int = 0,
) -> int:
    """Sleep, fail as told, fold what is given into a number."""
    _note("B", ctx)
    try:
        for told in range(tells):
            ctx.emit("told", number=told)
        time.sleep(seconds)
        if flaky and ctx.attempt == 1:
            raise ConnectionError("the first attempt fails")
        if bad:
            raise ValueError("this node always fails")
        return folded(given, salt)
    finally:
        _note("E", ctx)


def once(ctx: Context, salt: int) -> int:
    """Fail in the first run of its sub-flow, and succeed in one that a retry has begun anew."""
    _note("B", ctx)
    try:
        if "@t" not in ctx.run_id:
            raise ConnectionError("the first run fails")
        return salt
    finally:
        _note("E", ctx)


def gated(ctx: Context, item: int) -> int:
    """Fail upon one item until the run has been mended."""
    _note("B", ctx)
    try:
        time.sleep(0.02)
        if item == 1 and not (Path(os.environ[GATE]) / ctx.run_id.partition("/")[0]).exists():
            raise ValueError("nobody has mended it yet")
        return item
    finally:
        _note("E", ctx)


def undo(ctx: Context, what: str) -> str:
    """Undo something, or close: it shows in the log that it was called."""
    _note("B", ctx)
    try:
        time.sleep(0.02)
        return what
    finally:
        _note("E", ctx)


def items(ctx: Context, count: int, seconds: float) -> Iterator[int]:
    """Give numbers, one by one."""
    _note("B", ctx)
    try:
        for number in range(count):
            time.sleep(seconds)
            yield number
    finally:
        _note("E", ctx)


def big(ctx: Context) -> bytes:
    """Return more than an output may have."""
    _note("B", ctx)
    try:
        return "x" * _BIG  # type: ignore[return-value]  # plain text travels; bytes do not
    finally:
        _note("E", ctx)


def hog(ctx: Context) -> int:
    """Ask for more memory than a child under the campaign's limit gets."""
    _note("B", ctx)
    try:
        block = bytearray(_HOG)
        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft == resource.RLIM_INFINITY:
            time.sleep(0.05)
        return len(block)
    finally:
        _note("E", ctx)


def poison(ctx: Context) -> None:
    """Kill the process, each time."""
    _note("B", ctx)
    os.kill(os.getpid(), signal.SIGKILL)


def _note(mark: str, ctx: Context) -> None:
    """Append a line in one write: several processes share the file."""
    fields = (
        mark,
        ctx.run_id,
        ctx.node_id,
        ctx.attempt,
        os.getpid(),
        time.monotonic(),
        time.time(),
    )
    line = "\t".join(map(str, fields)) + "\n"
    file = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
