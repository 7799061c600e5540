"""The campaign's node functions: slow enough to be hit, wrong if anything upstream is.

In: what a flow gives them. Out: values, and two lines per execution in a log outside the store.
Not here: what a run should come to (flows).
"""

import os
import resource
import signal
import time
from typing import Any

from flowcore import Context

__all__ = ["LOG", "big", "hog", "mixed", "poison", "work"]

#: Names the file to which every execution appends its begin and its end.
LOG = "FAULTS_LOG"

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
