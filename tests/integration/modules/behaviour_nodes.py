"""Node functions of the behaviours that the test kit and workers have in common."""

import asyncio
import builtins
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel

from flowcore import Context, Retry, node


class Order(BaseModel):
    id: int
    name: str = "none"


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    y: int


class OddError(Exception):
    """An error of a library's own."""

    def __str__(self) -> str:
        return f"odd {self.args[0]}"


# ── plain ───────────────────────────────────────────────────────────────────────────────────────


def one() -> int:
    return 1


def nothing() -> None:
    return None


def echo(value: Any) -> Any:
    return value


def add(x: int, y: int = 10) -> int:
    return x + y


def only(upstream: Any) -> Any:
    return upstream


def total(items: list[int]) -> int:
    return sum(items)


def whole(ctx: Context) -> dict[str, Any]:
    return dict(ctx.inputs)


def facts(ctx: Context) -> dict[str, Any]:
    return {"flow": ctx.flow, "node": ctx.node_id, "attempt": ctx.attempt}


def by_place(x: int, /, y: int = 3) -> list[int]:
    return [x, y]


def by_name(*, x: int) -> int:
    return x


def anything(**more: Any) -> dict[str, Any]:
    return more


async def later(value: Any = 5) -> Any:
    await asyncio.sleep(0)
    return value


class Adder:
    def __init__(self, by: int) -> None:
        self.by = by

    def __call__(self, x: int) -> int:
        return x + self.by

    def method(self, x: int) -> int:
        return x - self.by


class Waiter:
    async def __call__(self, x: int) -> int:
        await asyncio.sleep(0)
        return x


adder = Adder(100)
waiter = Waiter()
seven = functools.partial(add, y=7)


def order(id: int = 7) -> Order:
    return Order(id=id)


def wrong_order() -> Order:
    return {"id": "no number"}  # type: ignore[return-value]


def order_of_a_map() -> Order:
    return {"id": "12"}  # type: ignore[return-value]


# ── values ──────────────────────────────────────────────────────────────────────────────────────

VALUES: dict[str, Any] = {
    "none": None, "true": True, "big": 2**63 - 1, "huge": 2**70, "float": 1.5, "minus": -0.0,
    "nan": float("nan"), "infinite": float("inf"), "text": "häß\n\t\"'", "empty": "",
    "emoji": "👩‍👩‍👧", "bidi": "a\u202eb", "nul": "a\x00b", "half": "\ud800", "bytes": b"\x00\xff",
    "list": [1, [2, [3]]], "tuple": (1, "x"), "map": {"a": {"b": None}}, "keys": {1: "x"},
    "set": {1}, "date": dt.date(2026, 3, 1),
    "time": dt.datetime(2026, 3, 1, 4, 5, tzinfo=dt.UTC),
    "decimal": decimal.Decimal("1.10"), "uuid": uuid.UUID(int=5), "path": PurePosixPath("/a/b"),
    "enum": Colour.RED, "dataclass": Point(1, 2), "model": Order(id=1), "object": object(),
    "function": len, "iterator": iter([1]), "long": "x" * 300_000,
}  # fmt: skip


def value(name: str) -> Any:
    if name == "too long":
        return "x" * 80_000_000
    if name == "deep":
        found: Any = 1
        for _ in range(400):
            found = [found]
        return found
    return VALUES[name]


# ── failing ─────────────────────────────────────────────────────────────────────────────────────


def fail(message: str = "no luck") -> None:
    raise ValueError(message)


def _noted() -> Exception:
    error = KeyError("k")
    error.add_note("a note")
    return error


def _caused() -> Exception:
    error = RuntimeError("second")
    error.__cause__ = KeyError("first")
    return error


ERRORS: dict[str, BaseException] = {
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "odd": OddError(5),
    "noted": _noted(),
    "cause": _caused(),
    "group": ExceptionGroup("several", [ValueError("a"), TypeError("b")]),
    "half": ValueError("half \ud800"),
    "long": ValueError("x" * 100_000),
    "GeneratorExit": GeneratorExit(),
}


def fail_with(kind: str) -> None:
    raise ERRORS.get(kind) or getattr(builtins, kind)("as asked")


async def fail_later(message: str = "later") -> None:
    await asyncio.sleep(0)
    raise LookupError(message)


def fail_until(attempt: int, ctx: Context) -> int:
    if ctx.attempt < attempt:
        raise ConnectionError(f"attempt {ctx.attempt}")
    return ctx.attempt


def fail_item(item: Any) -> Any:
    if item in (2, "bad"):
        raise ValueError(f"item {item}")
    return item


def fail_while(path: str, value: Any = "went") -> Any:
    if Path(path).exists():
        raise ConnectionError("there is a file")
    return value


def guess(error: dict[str, str]) -> str:
    return f"instead of {error['type']}"


def nap(seconds: float = 5.0) -> str:
    time.sleep(seconds)
    return "slept"


async def nap_later(seconds: float = 5.0) -> str:
    await asyncio.sleep(seconds)
    return "slept"


@node(retry=Retry(max_attempts=3, delay=0))
def tried(attempt: int, ctx: Context) -> int:
    return fail_until(attempt, ctx)


@node(fallback=[{"value": "from the decorator"}])
def spared() -> None:
    raise ValueError("spared")


# ── saying ──────────────────────────────────────────────────────────────────────────────────────


def words() -> Iterator[str]:
    yield "a "
    yield "b "
    yield "c"


def chunks() -> Iterator[Any]:
    yield {"n": 1}
    yield "two"


def no_chunks() -> Iterator[str]:
    yield from ()


def chunks_and_more() -> Any:
    yield "x"
    return {"at last": 1}


async def words_later() -> AsyncIterator[str]:
    for word in ("d", "e"):
        await asyncio.sleep(0)
        yield word


def words_then_fail() -> Iterator[str]:
    yield "said"
    raise ValueError("then no more")


def words_twice(ctx: Context) -> Iterator[str]:
    yield f"try {ctx.attempt}"
    fail_until(2, ctx)


def speak(ctx: Context) -> str:
    ctx.logger.debug("not heard")
    ctx.logger.info("heard %d", 5)
    ctx.logger.warning("wrong format %d", "x")
    ctx.emit("progress", done=1, of=2)
    ctx.token("tok")
    return "spoke"


def emit_nan(ctx: Context) -> bool:
    return ctx.emit("loss", value=float("nan"))


def remember(text: str, ctx: Context) -> list[str]:
    ctx.memory.add("user", text)
    ctx.memory.set("last", text)
    return [message["content"] for message in ctx.memory.messages()]


def resumed(ctx: Context) -> Any:
    return None if ctx.resumed is None else ctx.resumed.value


def key(ctx: Context) -> str:
    return ctx.idempotency_key.replace(ctx.run_id, "RUN")


def numbers(n: int = 3) -> Iterator[int]:
    yield from range(n)


def numbers_then_fail() -> Iterator[int]:
    yield 1
    raise ValueError("no more numbers")


def step(state: Any) -> Any:
    return state + 1


def undo(output: Any = None, ctx: Context | None = None) -> str:
    return f"undone {output}"
