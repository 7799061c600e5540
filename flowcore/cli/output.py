"""Data on stdout, notes on stderr.

In: values and rows. Out: text in the form that ``-o`` asks for. Not here: live progress.

Times are ISO 8601 in UTC with milliseconds (``2026-01-31T12:00:00.250Z``) but in tables (times),
durations are seconds, bytes are base64. Control characters never reach a terminal: ``write`` is the
one way to stdout.
"""

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from flowcore.cli.exit_codes import flush_stdout, print_error
from flowcore.cli.state_styles import ansi
from flowcore.cli.tables import table as lay_out
from flowcore.cli.terminal import columns as columns_of
from flowcore.cli.terminal import for_terminal, one_line
from flowcore.cli.times import Time, iso, show_time
from flowcore.errors import UsageError
from flowcore.json_text import json_text
from flowcore.ports.listing import Listing

__all__ = [
    "Format",
    "OutFile",
    "Output",
    "Quiet",
    "iso",
    "note",
    "note_damage",
    "paint",
    "save",
    "show_object",
    "show_rows",
    "table",
    "write",
    "write_json",
]


class Format(StrEnum):
    """The forms of data on stdout."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


Output = Annotated[Format, typer.Option("-o", "--output", help="Form of the data on stdout.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress and no hints.")]
OutFile = Annotated[
    Path | None, typer.Option("-O", "--output-file", help="Write to a file instead of stdout.")
]


def write(text: str) -> bool:
    """Write to stdout; say whether anybody still reads."""
    try:
        sys.stdout.write(_coloured(for_terminal(text, sys.stdout)))
        sys.stdout.flush()
    except BrokenPipeError:
        flush_stdout()
        return False
    except OSError as error:
        flush_stdout()  # what is left of it would be told of again when the process ends
        why = f"cannot write to stdout: {error.strerror or error}"
        raise OSError(error.errno, why) from error
    except UnicodeEncodeError:
        # A terminal that is not UTF-8, or half of a surrogate pair in somebody's output.
        encoding = sys.stdout.encoding or "ascii"
        return write(text.encode(encoding, "backslashreplace").decode(encoding))
    return True


def write_json(value: Any, *, indent: int | None = 2) -> bool:
    """Write one JSON value and the end of its line."""
    return write(json_text(value, indent=indent) + "\n")


def show_object(form: Format, data: Any, text: str = "") -> None:
    """Show one thing in the form asked for.

    Args:
        form: Table, indented JSON, or JSON on one line.
        data: The thing, as data.
        text: The same for people, with the ends of its lines; nothing if a note says it.
    """
    if form is Format.TABLE:
        if text:
            write(text)
    else:
        write_json(data, indent=2 if form is Format.JSON else None)


def show_rows(form: Format, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Show rows in the form asked for.

    Args:
        form: Table, one JSON array, or a JSON object a line.
        rows: Data, by key.
        columns: What a table shows: titles by key.
    """
    if form is Format.JSON:
        write_json(list(rows))
    elif form is Format.JSONL:
        for row in rows:
            if not write_json(row, indent=None):
                return
    else:
        cells = [[_cell(row.get(key)) for key in columns] for row in rows]
        write(table(list(columns.values()), cells))


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out columns for people: within the width of stdout if that is a terminal (see tables)."""
    cells = [list(map(one_line, row)) for row in rows]
    return lay_out(titles, cells, width=columns_of(sys.stdout), paint=paint)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Time):
        return show_time(value.seconds)
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def paint(state: str) -> str:
    """Colour the name of a state, where there are colours."""
    stream = sys.stdout
    plainly = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if plainly or state not in ansi or not stream.isatty():
        return state
    return f"{_BEGIN}{state}{_END}"


#: Stand around a state's name until it is written, since escape sequences do not get that far. No
#: text has them: Unicode keeps them for programs.
_BEGIN, _END = "\ufdd0", "\ufdd1"
_PAINTED = re.compile(f"{_BEGIN}({'|'.join(ansi)}){_END}")


def _coloured(text: str) -> str:
    return _PAINTED.sub(lambda match: f"\x1b[{ansi[match[1]]}m{match[1]}\x1b[0m", text)


def note(text: str, *, quiet: bool = False) -> None:
    """Write a hint or a message to stderr."""
    if not quiet:
        print_error(text)


def note_damage(found: Listing[Any], what: str, *, way_out: str = "") -> None:
    """Say on stderr, even when quiet, how many entries of a list cannot be read.

    Args:
        found: The list.
        what: Names its entries, in the plural.
        way_out: What may be done about it.
    """
    if warning := found.warning(what):
        print_error(f"{warning}; {way_out}" if way_out else warning)


def save(text: str, file: Path | None) -> None:
    """Write text to a file, or to stdout.

    Raises:
        UsageError: The file cannot be written.
    """
    if file is None:
        write(text)
        return
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        msg = f"cannot write {str(file)!r}: {error.strerror}"
        raise UsageError(msg) from error
