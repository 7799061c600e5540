"""A terminal for tests: a real pty, and the screen that a person would see on it.

The screen knows the few sequences that flowcore itself uses. Whatever else would control a terminal
is an error: it has come from outside.
"""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.cells import cell_len

__all__ = ["RawControlError", "Screen", "Terminal"]

PATIENCE = 60.0

_OURS = re.compile(
    r"\x1b\[(?:(?P<sgr>[0-9;]*)m|(?P<up>\d*)A|(?P<line>2)K|\?25(?P<cursor>[lh])|(?P<home>)1G)"
)
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_KEPT = frozenset("\n\t\u200c\u200d")


class RawControlError(AssertionError):
    """Something controls the terminal that flowcore does not use."""


class Screen:
    """The lines of a terminal that is endlessly high, so that nothing scrolls away."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.lines = [""]
        self._row = 0
        self._rest = ""

    def feed(self, text: str) -> None:
        """Show what was written."""
        text = self._rest + text
        self._rest = ""
        at = 0
        while at < len(text):
            if text[at] != "\x1b":
                self._put(text[at])
                at += 1
            elif match := _OURS.match(text, at):
                self._obey(match)
                at = match.end()
            elif re.fullmatch(r"\x1b(?:\[[0-9;?]*)?", text[at:]):
                self._rest = text[at:]
                return
            else:
                raise RawControlError(ascii(text[at : at + 40]))

    def text(self) -> str:
        """All lines."""
        return "\n".join(line.rstrip() for line in self.lines)

    def _obey(self, match: "re.Match[str]") -> None:
        if match["up"] is not None:
            self._row = max(0, self._row - int(match["up"] or 1))
        elif match["line"]:
            self.lines[self._row] = ""

    def _put(self, char: str) -> None:
        if char == "\n":
            self._row += 1
            if self._row == len(self.lines):
                self.lines.append("")
        elif char == "\r":
            self._column = 0
        elif char in _KEPT or unicodedata.category(char) not in _HIDDEN:
            self._write(char)
        else:
            raise RawControlError(ascii(char))

    _column: int | None = None

    def _write(self, char: str) -> None:
        if self._column == 0:
            # Whatever stood here is written over, letter by letter.
            self._over = self.lines[self._row]
            self.lines[self._row] = ""
        self._column = None
        if cell_len(self.lines[self._row] + char) > self.width:
            self._put("\n")
        self.lines[self._row] += char


class Terminal:
    """A command on a pty."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        size: tuple[int, int] = (100, 40),
        stdout: int | None = None,
    ) -> None:
        """Start it.

        Args:
            command: Its words.
            env: Its whole environment.
            cwd: Its directory.
            size: Columns and lines.
            stdout: Where its data goes, if not to the terminal.
        """
        self._master, slave = pty.openpty()
        self._set_size(size)
        self.screen = Screen(size[0])
        self.raw = bytearray()
        self._error: AssertionError | None = None
        self._changed = threading.Condition()
        plain = {name: value for name, value in env.items() if name not in {"COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            command,
            env={"TERM": "xterm-256color", **plain},
            cwd=cwd,
            stdin=slave,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def until(self, shown: str | Callable[[str], object], *, within: float = PATIENCE) -> str:
        """Wait until the screen shows something; return what it shows then."""
        deadline = time.monotonic() + within
        is_there = (lambda text: shown in text) if isinstance(shown, str) else shown
        with self._changed:
            while not is_there(text := self.screen.text()):
                if self._error is not None:
                    raise self._error
                ended = self.process.poll() is not None and not self._reader.is_alive()
                assert not ended, f"it has ended without {shown!r}:\n{text}"
                assert time.monotonic() < deadline, f"not within {within:g} s: {shown!r}:\n{text}"
                self._changed.wait(0.2)
        return text

    def end(self, *, within: float = PATIENCE) -> int:
        """Wait for its end; return its exit code."""
        code = self.process.wait(within)
        self._reader.join(within)
        os.close(self._master)
        if self._error is not None:
            raise self._error
        return code

    def press_ctrl_c(self) -> None:
        """Interrupt it, as the terminal does."""
        self.process.send_signal(signal.SIGINT)

    def resize(self, columns: int, lines: int) -> None:
        """Make the terminal another size."""
        with self._changed:
            self.screen.width = columns
        self._set_size((columns, lines))
        self.process.send_signal(signal.SIGWINCH)

    def kill(self) -> None:
        """End it however it is."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _set_size(self, size: tuple[int, int]) -> None:
        columns, lines = size
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self) -> None:
        decoder = __import__("codecs").getincrementaldecoder("utf-8")("replace")
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            if not data:
                return
            with self._changed:
                self.raw += data
                try:
                    self.screen.feed(decoder.decode(data))
                except AssertionError as error:
                    self._error = self._error or error
                self._changed.notify_all()
