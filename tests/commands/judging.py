"""What is right of every command line, whatever it says.

In: a line and how it ended. Out: what is wrong with that. Not here: drawing lines (lines).
"""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.canary import leaks_in
from tests.commands.lines import Line

__all__ = ["judged"]

#: The exit codes of docs/reference/cli.md.
_CODES = {
    int(each)
    for each in re.findall(
        r"^\| (\d+) \|",
        (Path(__file__).parents[2] / "docs/reference/cli.md").read_text("utf-8"),
        re.MULTILINE,
    )
}
_INTERNAL = re.compile(
    r"Traceback \(most recent call last\)|bug in flowcore|unexpected \w+Error|Exception ignored|"
    r"object at 0x[0-9a-f]+|During handling of|Fatal Python"
)
#: They show errors of others, traceback and all, as data.
_SHOWN = {"inspect", "logs", "conformance"}


def judged(line: Line, ended: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with the end of a line; nothing, if it is right."""
    return list(_wrong(line, ended))


def _wrong(line: Line, ended: Mapping[str, Any]) -> Iterator[str]:
    code, out, err = ended["code"], _read(line, 1), _read(line, 2)
    if code is None:
        yield f"hangs: had to be killed after {ended['took']:.0f} s"
        return
    if code not in _CODES and not (ended["told"] and -code in {2, 15, 1}):
        yield f"ends with {code}, which no page names"
    if "--debug" not in line.argv:
        yield from (f"says {found[0]!r}" for found in [_INTERNAL.search(err)] if found)
        if not (out and line.argv and line.argv[0] in _SHOWN):
            yield from (
                f"says {found[0]!r} on stdout" for found in [_INTERNAL.search(out)] if found
            )
    typed = "\0".join(line.argv)
    yield from (
        f"shows a password: …{leak!r}…" for leak in leaks_in(err + out)[:1] if not leaks_in(typed)
    )
    if code == 0 and _is_json(line) and out and not _parses(out):
        yield "writes what is no JSON"
    if "-q" in line.argv or "--quiet" in line.argv:
        return  # how a run ended is a note; errors are shown
    if code not in {0, *_UNSAID} and not (err + out).strip() and _file(line, 2) and _file(line, 1):
        yield f"ends with {code} without a word"


#: The shell says it, or nobody is there to read it.
_UNSAID = {129, 130, 143, -1, -2, -15}


def _is_json(line: Line) -> bool:
    if "_FLOWCORE_COMPLETE" in line.env:
        return False
    words = line.argv
    forms = [form for option, form in pairwise(words) if option in {"-o", "--output"}]
    return forms[-1:] == ["json"] and "--help" not in words and "-O" not in " ".join(words)


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _file(line: Line, fd: int) -> str | None:
    found = line.streams[fd]
    return found if found and not found.startswith("/dev/") else None


def _read(line: Line, fd: int) -> str:
    file = _file(line, fd)
    return Path(file).read_text("utf-8", "replace") if file else ""
