"""Agents that do what agents should not do."""

import argparse
import asyncio
import datetime as dt
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from flowcore import (
    AgentContext,
    Artifact,
    BlockingAgentContext,
    InputRequired,
    Message,
    Part,
    Rejected,
    agent,
)


def note(path: str, line: str) -> str:
    """Add a line to a file and return all of it."""
    with Path(path).open("a") as log:
        log.write(f"{line}\n")
    return Path(path).read_text()


def spin(_: Any = None) -> None:
    """Keep the interpreter, for ever."""
    re.match("(a+)+$", "a" * 60 + "!")


class OddError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class SurrogateError(Exception):
    def __str__(self) -> str:
        return "half a pair: \ud83d"


def _raise(error: BaseException) -> Any:
    raise error


def _deep() -> Any:
    value: Any = 1
    for _ in range(2000):
        value = [value]
    return value


def _circle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


ENDS: dict[str, Callable[[Any], Any]] = {
    "raise": lambda _: _raise(ValueError("as written")),
    "base": lambda _: _raise(BaseException("as written")),
    "group": lambda _: _raise(BaseExceptionGroup("two", [SystemExit(1), ValueError("x")])),
    "exit": lambda _: sys.exit(3),
    "argparse": lambda _: argparse.ArgumentParser().parse_args(["--no-such"]),
    "interrupt": lambda _: _raise(KeyboardInterrupt()),
    "generator-exit": lambda _: _raise(GeneratorExit()),
    "stop-iteration": lambda _: _raise(StopIteration("early")),
    "cancelled": lambda _: _raise(asyncio.CancelledError()),
    "timeout": lambda _: _raise(TimeoutError("somebody else's")),
    "recursion": lambda _: _raise(RecursionError("deep")),
    "odd": lambda _: _raise(OddError()),
    "surrogate": lambda _: _raise(SurrogateError()),
    "huge-error": lambda _: _raise(ValueError("x" * 5_000_000)),
    "reject": lambda _: _raise(Rejected("not today")),
    "ask": lambda _: _raise(InputRequired("which?")),
    "ask-odd": lambda _: _raise(InputRequired({1: 2})),
    "keys": lambda _: {1: 2},
    "nan": lambda _: {"x": float("nan")},
    "half": lambda _: "half a pair: \ud83d",
    "object": lambda _: object(),
    "bytes-inside": lambda _: {"x": b"y"},
    "huge": lambda _: "x" * 5_000_000,
    "deep": lambda _: _deep(),
    "circle": lambda _: _circle(),
    "big-int": lambda _: 2**70,
    "part-of-two": lambda _: Part(text="a", url="b"),
    "mixed": lambda _: [Part(text="a"), "b"],
    "artifact-id": lambda _: Artifact(artifact_id="", parts=(Part(text="a"),)),
    "date": lambda _: {"at": dt.datetime(2026, 1, 2, tzinfo=dt.UTC)},
    "fine": lambda content: content["value"],
    "none": lambda _: None,
    "echo": lambda content: content,
}


@agent("hard-async", max_concurrency=2)
async def hard_async(content: Any, ctx: AgentContext) -> Any:
    await asyncio.sleep(0)
    return ENDS[content["do"]](content)


@agent("hard-plain", max_concurrency=2)
def hard_plain(content: Any, ctx: BlockingAgentContext) -> Any:
    return ENDS[content["do"]](content)


@agent("hard-stream", max_concurrency=2)
async def hard_stream(content: Any, ctx: AgentContext) -> AsyncIterator[Any]:
    ctx.status("begins")
    yield ENDS[content["do"]](content)


@agent("hard-iterator", max_concurrency=2)
def hard_iterator(content: Any) -> Iterator[Any]:
    yield ENDS[content["do"]](content)


@agent("hard-task", max_concurrency=2)
async def hard_task(content: Any) -> Any:
    """Its end comes in a task of its own."""

    async def inner() -> Any:
        return ENDS[content["do"]](content)

    return await asyncio.create_task(inner())


@agent("loop-breaker")
async def loop_breaker(text: str) -> str:
    """A task that nobody awaits ends the loop."""

    async def inner() -> None:
        raise SystemExit(1)

    asyncio.get_running_loop().create_task(inner())
    await asyncio.sleep(0.1)
    return "still here"


@agent("hello")
async def hello(text: str) -> str:
    return f"hello {text}"


@agent("where")
async def where(text: str) -> dict[str, int]:
    return {"pid": os.getpid()}


@agent("own-timeout", retries=1)
async def own_timeout(data: dict[str, Any], ctx: AgentContext) -> str:
    runs = note(data["path"], "run")
    if data["from"] == "asyncio":
        async with asyncio.timeout(0.01):
            await asyncio.sleep(10)
    raise TimeoutError(f"mine {runs.count('run')}")


@agent("two-tries", retries=1)
async def two_tries(text: str, ctx: AgentContext) -> AsyncIterator[str]:
    if ctx.attempt == 1:
        ctx.artifact("only of the first try", id="notes")
        yield "The capital "
        yield "is "
        raise ValueError("the line is cut")
    yield "Paris, "
    yield "as ever"


@agent("plain-two-tries", retries=1)
def plain_two_tries(text: str, ctx: BlockingAgentContext) -> Iterator[str]:
    yield f"try {ctx.attempt}, "
    if ctx.attempt == 1:
        raise ValueError("the line is cut")
    yield "done"


@agent("asks-between")
async def asks_between(data: dict[str, str], ctx: AgentContext) -> AsyncIterator[str]:
    """Streams another text each time that it runs, as a model does."""
    run = len(note(data["path"], "run").splitlines())
    yield f"thinking {run}; "
    answer = ctx.ask("which?").text
    yield f"{answer} of run {run}"


@agent("dies-once")
async def dies_once(data: dict[str, Any], ctx: AgentContext) -> AsyncIterator[str]:
    """Is killed in mid-stream the first time."""
    run = len(note(data["path"], f"run {os.getpid()}").splitlines())
    for number in range(data["pieces"]):
        yield f"{run}.{number};"
        if run == 1 and number == data["dies_after"]:
            os.kill(os.getpid(), signal.SIGKILL)


@agent("fails-once", retries=1)
def fails_once(data: dict[str, Any]) -> Iterator[str]:
    """Fails in mid-stream the first time."""
    run = len(note(data["path"], f"run {os.getpid()}").splitlines())
    for number in range(data["pieces"]):
        yield f"{run}.{number};"
        if run == 1 and number == data["dies_after"]:
            raise ValueError("the line is cut")


@agent("waits-plain", max_concurrency=1)
def waits_plain(data: dict[str, Any], ctx: BlockingAgentContext) -> str:
    return ctx.call("waits-async", data).text


@agent("waits-async")
async def waits_async(data: dict[str, Any], ctx: AgentContext) -> str:
    return (await ctx.call("naps", data)).text


@agent("naps")
async def naps(data: dict[str, Any]) -> str:
    note(data["path"], "begin")
    try:
        await asyncio.sleep(600)
    finally:
        note(data["path"], "end")
    return "slept"


@agent("tells-itself")
async def tells_itself(data: dict[str, Any], ctx: AgentContext) -> str:
    note(data["path"], "told")
    try:
        return await ctx.send("tells-itself", data)
    except Exception as error:
        note(data["path"], str(error))
        raise


@agent("metadata")
async def metadata(message: Message, ctx: AgentContext) -> dict[str, Any]:
    return {"metadata": dict(message.metadata), "context": ctx.context_id, "task": ctx.task_id}


@agent("hangs", timeout="0.3s", max_concurrency=2)
def hangs(text: str) -> str:
    time.sleep(600)
    return text


@agent("hangs-rarely", timeout="0.3s", max_concurrency=3)
def hangs_rarely(text: str) -> str:
    time.sleep(600 if text == "hang" else 0)
    return text


@agent("deaf", timeout="0.3s", max_concurrency=2)
async def deaf(text: str) -> str:
    """Takes no notice of being cancelled."""
    while True:
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            continue


@agent("blocks", timeout="1s")
async def blocks(text: str) -> str:
    """Blocks the loop, without keeping the interpreter."""
    time.sleep(600)  # noqa: ASYNC251
    return text


@agent("spins", timeout="2s")
def spins(data: dict[str, Any]) -> str:
    note(data["path"], f"run {os.getpid()}")
    spin()
    return "never"


@agent("spins-async", timeout="2s")
async def spins_async(data: dict[str, Any]) -> str:
    note(data["path"], f"run {os.getpid()}")
    spin()
    return "never"


@agent("spins-for-ever")
def spins_for_ever(data: dict[str, Any]) -> str:
    note(data["path"], f"run {os.getpid()}")
    spin()
    return "never"


@agent("naps-and-tells")
async def naps_and_tells(data: dict[str, Any]) -> str:
    note(data["path"], f"run {os.getpid()}")
    await asyncio.sleep(data["seconds"])
    return "rested"


@agent("leaves")
def leaves(text: str) -> str:
    """End the whole process, without a word."""
    os._exit(3)
