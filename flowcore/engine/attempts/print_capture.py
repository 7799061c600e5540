"""PRINT: what a node's function prints becomes records of its log, where that is asked for.

In: text that is written to ``sys.stdout`` during an attempt. Out: lines, each to the attempt that
printed it; all other text to where it went before. Not here: events (event_emitter), log records of
the node's own (generators).

``sys.stdout`` belongs to the process, and several attempts may run in it. So one object takes its
place once, and asks the context of whoever writes whose text it is. A function has the context of
its attempt, and so have coroutines, tasks and ``asyncio.to_thread``; a thread that it starts itself
has none, and what a C library or another program writes to the descriptor never comes here: these
stay in the worker's own output. So does whatever the run's log does not take.
"""

import codecs
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["MOST_LINE", "capture"]

#: Characters of a line that become one record; a longer line becomes several.
MOST_LINE = 10_000

_owner: ContextVar["_Lines | None"] = ContextVar("flowcore_print_owner", default=None)
_installing = threading.Lock()


def _show_all(text: str) -> tuple[str, str]:
    return text, ""


@contextmanager
def capture(
    say: Callable[[str], bool], *, split: Callable[[str], tuple[str, str]] = _show_all
) -> Iterator[None]:
    """Give what is printed in the block, and in contexts that are copies of its own, to ``say``.

    Args:
        say: Takes a line without its end; False: the line is to go where it would have gone.
        split: Says of a line that is too long to wait for its end what can be told now, and what
            has to wait for more text: the beginning of a secret.
    """
    lines = _Lines(say, split, _installed())
    token = _owner.set(lines)
    try:
        yield
    finally:
        _owner.reset(token)
        lines.close()


def _installed() -> Any:
    """Take the place of ``sys.stdout``, unless that is done; return what it was."""
    with _installing:
        # What hides the worker's secrets may stand before it, and passes on what it is asked.
        found = getattr(sys.stdout, "flowcore_capture", None)
        if found is None:
            sys.stdout = found = _Stdout(sys.stdout)
        return found.real


class _Lines:
    """Output that one attempt prints, cut into lines."""

    def __init__(
        self, say: Callable[[str], bool], split: Callable[[str], tuple[str, str]], real: Any
    ) -> None:
        self._say = say
        self._split = split
        self._real = real
        self._rest = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._lock = threading.RLock()
        self._is_busy = False
        self.is_closed = False

    def write(self, text: str) -> int:
        """Take text."""
        with self._lock:
            if self._is_busy or self.is_closed:
                # A log of the engine itself that goes to stdout, or a task that outlives its node.
                self._real.write(text)
                return len(text)
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self._tell(line)
            if len(self._rest) > MOST_LINE:
                self._tell_long()
        return len(text)

    def write_bytes(self, data: bytes) -> int:
        """Take bytes; what is no UTF-8 is written as escapes."""
        with self._lock:
            self.write(self._decoder.decode(data))
        return len(data)

    def close(self) -> None:
        """Tell the line that has no end, and take no more."""
        with self._lock:
            self.write(self._decoder.decode(b"", final=True))
            rest, self._rest = self._rest, ""
            if rest:
                self._tell(rest)
            self.is_closed = True

    def _tell_long(self) -> None:
        """Tell all whole pieces of a line that has no end yet, each text once."""
        shown, held = self._split(self._rest)
        whole = len(shown) - len(shown) % MOST_LINE
        for at in range(0, whole, MOST_LINE):
            self._tell(shown[at : at + MOST_LINE])
        self._rest = shown[whole:] + held

    def _tell(self, line: str) -> None:
        self._is_busy = True
        try:
            if not self._say(line):
                self._real.write(f"{line}\n")
        finally:
            self._is_busy = False


class _Stdout:
    """Stands for ``sys.stdout``."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.flowcore_capture = self

    def write(self, text: Any) -> int:
        """Give text to the attempt that writes it, if it is one."""
        if not isinstance(text, str):
            msg = f"write() argument must be str, not {type(text).__name__}"
            raise TypeError(msg)
        lines = _owner.get()
        if lines is None or lines.is_closed:
            written: int = self.real.write(text)
            return written
        return lines.write(text)

    def writelines(self, texts: Iterable[str]) -> None:
        """Write each."""
        for text in texts:
            self.write(text)

    def flush(self) -> None:
        """Flush what is not an attempt's."""
        self.real.flush()

    @property
    def buffer(self) -> Any:
        """The same for bytes."""
        lines = _owner.get()
        return self.real.buffer if lines is None or lines.is_closed else _Bytes(lines)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class _Bytes:
    """Stands for ``sys.stdout.buffer`` during an attempt."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines

    def write(self, data: Any) -> int:
        """Give bytes to the attempt."""
        return self._lines.write_bytes(bytes(data))

    def flush(self) -> None:
        """Nothing waits here."""
