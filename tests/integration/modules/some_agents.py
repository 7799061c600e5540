"""Agents for tests."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from flowcore import (
    AgentContext,
    BlockingAgentContext,
    InputRequired,
    Message,
    Rejected,
    Skill,
    agent,
)


@agent("echo", skills=["repeat"], tags=["test"], max_concurrency=64)
async def echo(text: str) -> str:
    return text


@agent("shout", skills=[Skill(id="loud", tags=("voice",))], input_modes=["text/plain"])
def shout(text: str) -> str:
    """Says it louder."""
    return text.upper()


@agent("pid")
async def pid(text: str, ctx: AgentContext) -> dict[str, int]:
    await asyncio.sleep(0.05)
    return {"pid": os.getpid()}


@agent("counter")
async def counter(data: dict[str, int], ctx: AgentContext) -> AsyncIterator[str]:
    ctx.status("counts")
    for number in range(data["to"]):
        yield f"{number};"


@agent("plain-counter")
def plain_counter(data: dict[str, int]) -> Iterator[str]:
    for number in range(data["to"]):
        yield f"{number};"


@agent("booking")
async def booking(text: str, ctx: AgentContext) -> str:
    city = ctx.ask("Which city?").text
    day = ctx.ask("Which day?").text
    return f"{text}: {city} on {day}"


@agent("asker")
def asker(message: Message, ctx: BlockingAgentContext) -> str:
    if len(ctx.history) == 1:
        raise InputRequired("really?")
    return f"{message.text} {ctx.message.text}"


@agent("chief")
async def chief(text: str, ctx: AgentContext) -> dict[str, Any]:
    one = await ctx.call("echo", text)
    two, three = await ctx.fan_out([("shout", text), ("echo", f"{text}!")])
    pieces = [update.text async for update in ctx.stream("counter", {"to": 3}) if update.artifact]
    sent = await ctx.send("echo", "bye")
    return {"call": one.text, "fan": [two.text, three.text], "stream": pieces, "sent": sent}


@agent("plain-chief", max_concurrency=1)
def plain_chief(text: str, ctx: BlockingAgentContext) -> str:
    with Path(os.environ["AGENT_LOG"]).open("a") as log:
        log.write(f"{ctx.task_id}\n")
    first = ctx.call("shout", text).text
    both = ctx.fan_out([("echo", first), ("shout", "z")])
    return first + "".join(task.text for task in both)


@agent("clerk")
async def clerk(text: str, ctx: AgentContext) -> Any:
    return await ctx.delegate("historian")


@agent("historian")
async def historian(message: Message, ctx: AgentContext) -> dict[str, Any]:
    return {"context": ctx.context_id, "references": list(message.reference_task_ids)}


@agent("ring-a")
async def ring_a(text: str, ctx: AgentContext) -> str:
    return (await ctx.call("ring-b", text)).text


@agent("ring-b")
async def ring_b(text: str, ctx: AgentContext) -> str:
    return (await ctx.call("ring-a", text)).text


def note(path: Path, line: str) -> str:
    """Add a line to a file and return all of it."""
    with path.open("a") as log:
        log.write(line)
    return path.read_text()


@agent("sleeper")
async def sleeper(data: dict[str, Any], ctx: AgentContext) -> str:
    path = Path(data["path"])
    first = note(path, f"begin {os.getpid()}\n").count("begin") == 1
    try:
        await asyncio.sleep(data["seconds"] if first else 0)
    except asyncio.CancelledError:
        note(path, "stopped\n")
        raise
    return "slept"


@agent("patient", max_concurrency=1)
async def patient(data: dict[str, Any], ctx: AgentContext) -> str:
    return (await ctx.call("sleeper", data)).text


@agent("flaky", retries=2)
async def flaky(text: str, ctx: AgentContext) -> str:
    if ctx.attempt < 3:
        raise ValueError(f"attempt {ctx.attempt}")
    return f"attempt {ctx.attempt}"


@agent("broken")
def broken(text: str) -> str:
    raise ValueError("as written")


@agent("picky")
async def picky(text: str) -> str:
    raise Rejected("not today")


@agent("slow", timeout=0.1)
async def slow(text: str) -> str:
    await asyncio.sleep(60)
    return "never"
