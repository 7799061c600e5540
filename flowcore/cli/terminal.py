r"""Text on its way to a terminal: nothing from outside controls it.

In: text that may hold anything. Out: the same, with what is not to be seen written as ``\u001b``.
Not here: writing and colours (output), the live view (live_view).

Escape sequences, the C1 controls that stand for them, marks that turn the direction of writing and
halves of surrogate pairs come from outputs, errors and logs. They are written as JSON writes them,
so that JSON on a terminal is still that JSON. A file or a pipe gets what there is.
"""

import os
import re
import shutil
from typing import TextIO

from flowcore.run.text import escape

__all__ = ["columns", "escape", "for_terminal", "one_line", "speaks_unicode"]

_BREAKS = re.compile(r"[\n\t]")


def for_terminal(text: str, stream: TextIO) -> str:
    """Make text safe to write to a stream; all that is no terminal gets it as it is.

    Args:
        text: What is to be written.
        stream: Where.
    """
    return escape(text) if stream.isatty() else text


def one_line(text: str) -> str:
    """Make text safe for a place among others on a line, such as a cell of a table."""
    return escape(_BREAKS.sub(" ", text))


def columns(stream: TextIO) -> int | None:
    """Say how many cells a line has that is written to a stream; None: no terminal, any number."""
    return max(1, shutil.get_terminal_size().columns) if stream.isatty() else None


def speaks_unicode(encoding: str | None) -> bool:
    """Say whether a terminal shows more than ASCII: not where the locale is C, by name.

    Args:
        encoding: What Python writes. It is UTF-8 in that locale, too.
    """
    chosen = os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    return chosen not in {"C", "POSIX"} and (encoding or "").lower().startswith("utf")
