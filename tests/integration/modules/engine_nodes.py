"""Node functions that the tests' workers import."""

import asyncio
import hashlib
import os
import random
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from flowcore import Context


def numbers(n: int = 5) -> dict[str, Any]:
    return {"values": list(range(n))}


def total(values: list[int]) -> int:
    return sum(values)


async def largest(values: list[int]) -> int:
    await asyncio.sleep(0)
    return max(values)


def report(total: int, largest: int) -> str:
    return f"total {total}, largest {largest}"


def echo(value: Any) -> Any:
    return value


def facts(ctx: Context) -> dict[str, Any]:
    return {
        "run": ctx.run_id,
        "flow": ctx.flow,
        "node": ctx.node_id,
        "attempt": ctx.attempt,
        "key": ctx.idempotency_key,
        "worker": ctx.worker,
        "inputs": dict(ctx.inputs),
        "emitted": ctx.emit("progress", done=3, of=7),
    }


def fail(message: str = "no luck") -> None:
    raise ValueError(message)


def fail_while(path: str, log: str) -> int:
    """Fail as long as a file exists; note each call in another one, and say how many there were."""
    with Path(log).open("a") as file:
        file.write("x")
    if Path(path).exists():
        raise ConnectionError("down")
    return len(Path(log).read_text())


def count_after(path: str, log: str, of: str = "") -> int:
    """Wait until a file exists, and say how often this was called."""
    with Path(log).open("a") as file:
        file.write("x")
    wait_for(path)
    return len(Path(log).read_text())


def guess(error: dict[str, str], attempt: int) -> str:
    """A fallback that knows of the error and of an argument of its node."""
    return f"{error['type']} in spite of {attempt}"


def fail_until(attempt: int, ctx: Context) -> int:
    if ctx.attempt < attempt:
        text = f"attempt {ctx.attempt} fails"
        raise ConnectionError(text)
    return ctx.attempt


def recite(words: list[str]) -> Iterator[str]:
    yield from words


async def recite_slowly(words: list[str]) -> AsyncIterator[str]:
    for word in words:
        await asyncio.sleep(0.001)
        yield word


def recite_until(path: str) -> Iterator[str]:
    """Say one word, and the next one when a file exists."""
    yield "first "
    wait_for(path)
    yield "second"


def recite_twice(ctx: Context) -> Iterator[str]:
    yield f"attempt {ctx.attempt}"
    fail_until(2, ctx)


def speak(ctx: Context, count: int = 3) -> int:
    ctx.logger.info("%d words", count)
    for number in range(count):
        ctx.token(number)
    ctx.emit("progress", done=count)
    ctx.logger.debug("nobody hears this")
    return count


def remember(text: str, ctx: Context) -> list[str]:
    """Add a message, fail the first time, and give the whole conversation."""
    ctx.memory.add("user", text)
    fail_until(2, ctx)
    ctx.memory.set("last", text)
    return [message["content"] for message in ctx.memory.messages()]


def embed(text: str) -> list[float]:
    """A vector for tests: how often some words are in a text."""
    return [float(text.count(word)) for word in ("cat", "dog", "sea", "ship")]


def down(messages: list[dict[str, Any]], summary: str | None) -> str:
    """A summariser whose model is away."""
    raise RuntimeError("the model is down")


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def spin(seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        pass


async def async_nap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


def tell_after(path: str, mark: str, ctx: Context) -> bool:
    """Wait until a file exists, then emit an event."""
    wait_for(path, mark)
    return ctx.emit("told")


def wait_for(path: str, mark: str | None = None, seconds: float = 60.0) -> str:
    """Wait until a file exists: how tests hold a node at a known place."""
    if mark:
        with Path(mark).open("a") as file:
            file.write(f"{os.getpid()}\n")
    ends = time.monotonic() + seconds
    while not Path(path).exists():
        if time.monotonic() > ends:
            raise TimeoutError(path)
        time.sleep(0.01)
    return Path(path).read_text()


def append_slowly(ctx: Context, path: str, seconds: float) -> None:
    """Note the run and the node, and take some time."""
    with Path(path).open("a") as file:
        file.write(f"{ctx.run_id} {ctx.node_id}\n")
    time.sleep(seconds)


def die_once(mark: str) -> str:
    """Kill the process that runs this node, the first time."""
    try:
        Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return "survived"
    os.kill(os.getpid(), signal.SIGKILL)
    return "unreachable"


def die_unless(path: str) -> str:
    """Kill the process that runs this node until a file is there."""
    if not Path(path).exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def vanish(code: int) -> None:
    """End the process that runs this node without a word."""
    os._exit(code)


def unsupported() -> Any:
    return {"rows": [1, {2, 3}]}


def large(size: int) -> str:
    return "x" * size


def emit_much(size: int, ctx: Context) -> bool:
    return ctx.emit("progress", text="x" * size)


def append(path: str, ctx: Context) -> None:
    """Leave a line per execution."""
    with Path(path).open("a") as file:
        file.write(f"{ctx.node_id} {ctx.attempt}\n")


def mix(upstream: Any, salt: int, bad: bool = False) -> dict[str, int]:
    """Depend on everything upstream, so that a wrong or missing input changes the output."""
    if bad:
        text = f"salt {salt}"
        raise ValueError(text)
    if isinstance(upstream, dict) and "value" in upstream:
        upstream = {"": upstream}
    parts = sorted((name, part["value"]) for name, part in (upstream or {}).items() if part)
    seed = sum(31 * index * value + len(name) for index, (name, value) in enumerate(parts, start=1))
    return {"value": (seed + salt) % 9973}


def note(path: str, text: str) -> None:
    with Path(path).open("a") as file:
        file.write(f"{text}\n")


def leave(code: int) -> None:
    sys.exit(code)


async def async_leave(code: int) -> None:
    sys.exit(code)


def interrupt() -> None:
    raise KeyboardInterrupt


def blow(kind: str) -> None:
    """Raise what ``except Exception`` lets pass."""
    raise {
        "BaseException": BaseException,
        "GeneratorExit": GeneratorExit,
        "CancelledError": asyncio.CancelledError,
    }[kind]("boom")


async def async_blow(kind: str) -> None:
    blow(kind)


def block(size: int, seed: int = 0) -> bytes:
    """So many bytes that no other seed gives."""
    return random.Random(seed).randbytes(size)


def hash_of(value: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(value).hexdigest(), "bytes": len(value)}


def hash_of_all(upstream: dict[str, bytes]) -> dict[str, Any]:
    """The hash of all inputs in their order, and the most memory this process ever had."""
    whole = hashlib.sha256()
    for value in upstream.values():
        whole.update(value)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"sha256": whole.hexdigest(), "count": len(upstream), "peak_kib": peak}


def alone(log: str) -> None:
    """Say when it begins and when it ends."""
    for word in ("in", "out"):
        with Path(log).open("a") as file:
            file.write(f"{word}\n")
        time.sleep(0.02)
