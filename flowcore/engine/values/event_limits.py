"""Limits on what a node may leave behind: the size of an event, of a failure's text.

In: what a node emitted or raised. Out: an error that says what is too large, or shorter text.
Not here: outputs (payloads).

What a node emits is refused when it is too large, since half of it would be wrong.
The words of a failure are cut, since half of them are better than none.
"""

from dataclasses import dataclass
from typing import Any

from flowcore.errors import PayloadTooLargeError
from flowcore.run.wire import pack

__all__ = ["MOST_MESSAGE", "MOST_TRACEBACK", "Limits", "shorten"]

#: Characters of a failure's message, and of its traceback.
MOST_MESSAGE = 10_000
MOST_TRACEBACK = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits on events and their sizes, in bytes of msgpack."""

    event: int = 64 * 2**10
    prints: bool = False
    """True if the output of ``print`` in a node is recorded."""

    def pack_event(self, data: Any, *, node: str) -> bytes:
        """Pack the data of a node's event, unless it is too large.

        Raises:
            UnsupportedValueError: It is not plain data.
            PayloadTooLargeError: It is too large.
        """
        packed = pack(data, what=f"an event of node {node!r}")
        if len(packed) > self.event:
            msg = (
                f"an event of node {node!r} is {len(packed):,} bytes; the limit is {self.event:,} "
                "(FLOWCORE_MAX_EVENT): emit a path or a key instead"
            )
            raise PayloadTooLargeError(msg)
        return packed


def shorten(text: str, most: int) -> str:
    """Cut the middle out of text that is too long, and say how much.

    Args:
        text: A failure's words: what came first and what came last matters most.
        most: Characters that may stay.
    """
    if len(text) <= most:
        return text
    head = most * 2 // 3
    cut = f"\n[… {len(text) - most:,} characters cut …]\n"
    return text[:head] + cut + text[head - most :]
