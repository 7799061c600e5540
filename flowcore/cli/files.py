"""Files that are named on the command line, and standard input: read as text, within a bound.

In: a path, or ``-``. Out: its text, or a sentence. Not here: definitions (graph.load), which have
limits of their own; files that are written (output).

A device such as ``/dev/zero`` has no end, and a mistyped path may be a disk image: nothing is read
into memory beyond what a run could be given.
"""

import os
import sys
from typing import TextIO

from flowcore.errors import UsageError

__all__ = ["MOST_MIB", "is_there", "read_stdin", "read_text"]

#: As much as a run's input may have.
MOST_MIB = 128
_MOST = MOST_MIB * 2**20


def is_there(path: str) -> bool:
    """Return whether a path leads to something, without raising for any path however odd."""
    try:
        return os.path.exists(path)  # noqa: PTH110  (Path.exists raises upon a name that is too long)
    except ValueError:
        return False


def read_text(path: str, *, what: str) -> str:
    """Read a file of UTF-8 text; ``-`` is stdin.

    Args:
        path: The file.
        what: How an error names it, such as ``the input file``.

    Raises:
        UsageError: It cannot be read, is not text, or is larger than any input.
    """
    if path == "-":
        return read_stdin()
    try:
        with open(path, encoding="utf-8-sig") as stream:  # noqa: PTH123  (Path drops a final slash)
            return _bounded(stream, f"{what} {path!r}")
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {what} {path!r}: {_reason(error)}") from error


def read_stdin() -> str:
    """Read all of standard input.

    Raises:
        UsageError: It is closed, cannot be read, is not text, or is larger than any input.
    """
    if sys.stdin is None or sys.stdin.closed:
        msg = "stdin is closed, there is nothing to read"
        raise UsageError(msg)
    try:
        return _bounded(sys.stdin, "stdin")
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read stdin: {_reason(error)}") from error


def _bounded(stream: TextIO, what: str) -> str:
    text = stream.read(_MOST + 1)
    if len(text) > _MOST:
        msg = (
            f"{what} has more than {MOST_MIB} MiB, which no run takes; store it, and give its path"
        )
        raise UsageError(msg)
    return text


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
