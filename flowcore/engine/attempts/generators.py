"""Generators as nodes, and what a node's own words are as events.

In: a generator function, a logger. Out: chunks as tokens while it runs, one output at its end.
Not here: writing events (event_emitter).
"""

import inspect
import logging
from collections.abc import Callable
from typing import Any

from flowcore.engine.values.event_limits import MOST_MESSAGE, shorten
from flowcore.errors import FlowcoreError
from flowcore.run.text import to_utf8

__all__ = ["NodeLogger", "is_generator", "output_of", "streaming", "token"]

_log = logging.getLogger(__name__)


def is_generator(function: Callable[..., Any]) -> bool:
    """Return whether a function gives its output in chunks."""
    called = getattr(function, "__call__", None)  # noqa: B004  (asks for the generator's flag)
    return any(
        inspect.isgeneratorfunction(one) or inspect.isasyncgenfunction(one)
        for one in (function, called)
    )


def streaming(function: Callable[..., Any], say: Callable[[Any], object]) -> Callable[..., Any]:
    """Turn a generator function into one that says each chunk and returns the node's output."""

    def drained(*args: Any, **kwargs: Any) -> Any:
        given = function(*args, **kwargs)
        if inspect.isasyncgen(given):
            return _drained_async(given, say)
        chunks: list[Any] = []
        while True:
            try:
                chunk = next(given)
            except StopIteration as end:
                return output_of(chunks, end.value)
            say(chunk)
            chunks.append(chunk)

    return drained


async def _drained_async(given: Any, say: Callable[[Any], object]) -> Any:
    chunks: list[Any] = []
    async for chunk in given:
        say(chunk)
        chunks.append(chunk)
    return output_of(chunks)


def output_of(chunks: list[Any], returned: Any = None) -> Any:
    """Combine a generator's chunks into the node's output.

    Args:
        chunks: All that it yielded.
        returned: What it returned, which then is the output.

    Returns:
        Text when all chunks are text, else the list of them; None when there were none.
    """
    if returned is not None:
        return returned
    if not chunks:
        return None
    return "".join(chunks) if all(isinstance(chunk, str) for chunk in chunks) else chunks


def token(chunk: Any) -> dict[str, Any]:
    """The data of a token's event."""
    return {"text": chunk} if isinstance(chunk, str) else {"chunk": chunk}


class NodeLogger(logging.LoggerAdapter[logging.Logger]):
    """The logger of an attempt: its records from INFO up are events of the run, too."""

    def __init__(
        self,
        logger: logging.Logger,
        facts: dict[str, Any],
        say: Callable[[dict[str, Any]], object] | None,
        *,
        hide: Callable[[str], str] = str,
    ) -> None:
        """Log with ``facts``; tell the run's log through ``say``, if it is to know.

        Args:
            logger: The worker's own.
            facts: What its records carry.
            say: Tells the run's log.
            hide: Hides secrets in a text, before it is cut.
        """
        super().__init__(logger, facts)
        self._say = say
        self._hide = hide

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a record, whatever the level of the worker's own log."""
        if self._say is not None and level >= logging.INFO:
            self._tell(self._say, level, msg, args)
        super().log(level, msg, *args, **kwargs)

    def _tell(
        self,
        say: Callable[[dict[str, Any]], object],
        level: int,
        msg: object,
        args: tuple[object, ...],
    ) -> None:
        """Tell the run's log; no line of a log fails the work it is about."""
        try:
            record = logging.LogRecord("", level, "", 0, msg, args, None)
            text = record.getMessage()
        except Exception as error:  # noqa: BLE001  (a wrong format, or a __str__ that raises)
            text = f"(a message that cannot be shown: {type(error).__name__})"
        text = shorten(to_utf8(shorten(self._hide(text), MOST_MESSAGE)), MOST_MESSAGE)
        try:
            say({"level": logging.getLevelName(level), "message": text})
        except FlowcoreError as error:
            _log.debug("a line of a node's log was not kept: %s", error)
