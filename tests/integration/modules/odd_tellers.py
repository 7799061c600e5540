"""One function that tells odd text in every way there is, as a node and as an agent."""

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowcore import BlockingAgentContext, Context, agent
from flowcore.errors import FlowcoreError

PARTS = (
    *("\x00", "\x1b[31m", "\x1b]0;owned\x07", "\x1b[2J", "\x9b31m", "\x85", "\r", "\x08", "\x7f"),
    *("\u202egnp", "\u2066", "\u2028", "\ufeff", "a", "b ", "é", "日本", "\U0001f600", "\t", "\n"),
)
HALVES = ("\ud800", "\udfff", "\udcff", "\ud83d")
ENDS = ("give", "raise", "named")
#: Of so many texts one is as long as LONG.
RARE, LONG = 25, 5_000_000


def odd_text(seed: int, *, made: bool) -> str:
    """Text of a seed: controls and directions.

    Args:
        seed: The same text for the same number.
        made: In the function, which may make what no message could bring: halves of surrogate
            pairs (odd seeds), and text as long as LONG.
    """
    dice = random.Random(seed)
    parts = PARTS + HALVES if made and seed % 2 else PARTS
    text = "".join(dice.choices(parts, k=dice.randrange(1, 30)))
    return (text * LONG)[:LONG] if made and seed % RARE == 0 else text


def _tell(given: dict[str, Any], *says: Callable[[str], object]) -> Any:
    with Path(given["log"]).open("a") as file:
        file.write("ran\n")
    assert given["said"] == odd_text(given["seed"], made=False), "it came as it was sent"
    text = odd_text(given["seed"], made=True)
    for say in says:
        # What is no text at all is refused by some, and is none of this function's trouble.
        with contextlib.suppress(FlowcoreError):
            say(text)
    if given["ends"] == "give":
        return {"made": text, "said": given["said"]}
    kind = type("OddError", (Exception,), {})
    if given["ends"] == "named":
        with contextlib.suppress(ValueError):  # what is no text names no class
            kind.__name__ = kind.__qualname__ = text[:50].replace("\0", "") or "E"
    error: Exception = kind(text)
    error.add_note(text)
    raise error


def tell(given: dict[str, Any], ctx: Context) -> Any:
    """Log, emit, stream and return or raise odd text."""
    return _tell(
        given,
        ctx.logger.warning,
        lambda text: ctx.logger.info("%s", text),
        lambda text: ctx.emit("progress", note=text),
        lambda text: ctx.emit(text[:20]),
        ctx.token,
    )


@agent("teller", max_concurrency=4)
def teller(content: Any, ctx: BlockingAgentContext) -> Any:
    """Tell states of the task, and return or raise odd text."""
    return _tell(content, ctx.status)
