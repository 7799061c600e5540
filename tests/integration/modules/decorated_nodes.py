"""Nodes whose decorators say how they run."""

import time
from collections.abc import Iterator
from typing import Any

from flowcore import Context, node

RETRY = {"max_attempts": 3, "delay": 0, "jitter": False}


def guess(error: dict[str, str]) -> str:
    return f"a guess after {error['type']}"


@node(
    retry={"max_attempts": 3, "delay": "2s", "backoff": "fixed"},
    timeout="9s",
    queue="gpu",
    join="all_done",
    concurrency={"limit": 3, "key": "k"},
    rate_limit="10/s",
    fallback={"value": 1},
    circuit_breaker=4,
    cache={"ttl": "1h", "name": "shared"},
    priority=8,
    tags=["slow"],
)
def everything(upstream: Any = None) -> Any:
    return upstream


@node(retry=RETRY)
def shy(ctx: Context) -> int:
    if ctx.attempt < 3:
        raise ConnectionError(f"attempt {ctx.attempt}")
    return ctx.attempt


@node(timeout="50ms")
def slow() -> str:
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        time.sleep(0.02)
    return "slept"


@node(fallback=guess, retry=RETRY)
def broken() -> None:
    raise ConnectionError("down")


@node(cache="1h", tags=["a", "b"])
def cached(ctx: Context) -> str:
    return ctx.run_id


@node(retry=RETRY)
def pages() -> Iterator[int]:
    yield from (1, 2)


@node(queue="special")
def where(ctx: Context) -> str:
    return ctx.worker


@node(retry={"max_attempts": 0})
def wrong() -> None:
    """Its decorator says what no definition may say."""
