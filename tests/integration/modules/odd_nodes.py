"""Functions that end in text that is none, and in errors that do anything when they are asked."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from flowcore import Context

BAD = os.fsdecode(b"report-\xff.csv")

TEXTS: dict[str, str] = {
    "surrogate": f"cannot parse {BAD}",
    "high half": "x\ud83dx",
    "nul": "a\x00b",
    "escape": "\x1b[31mred\x1b]0;title\x07",
    "bidi": "\u202efdp.exe",
    "control": "\x9b31m\x85",
    "long": "y" * 5_000_000,
    "long and odd": "\udcff" * 200_000,
}


class MuteError(Exception):
    def __str__(self) -> str:
        raise LookupError("not even this")

    __repr__ = __str__


class LeavingError(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class HangingError(Exception):
    def __str__(self) -> str:
        ends = time.monotonic() + 600
        while time.monotonic() < ends:
            time.sleep(0.01)
        return "too late"


class StrangeError(Exception):
    def __reduce__(self) -> Any:
        raise RuntimeError("no pickle")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = None  # type: ignore[assignment]

    @property
    def __notes__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no notes")


def _chain() -> Exception:
    error = ValueError("the last of many")
    link: BaseException = error
    for number in range(3000):
        link.__cause__ = ValueError(f"cause {number} {BAD}")
        link = link.__cause__
    return error


def _noted() -> Exception:
    error = ValueError("ok")
    error.add_note(BAD)
    error.add_note("z" * 5_000_000)
    return error


class Named(Exception):  # noqa: N818
    pass


Named.__module__ = BAD

ERRORS: dict[str, Callable[[], BaseException]] = {
    "mute": lambda: MuteError("m"),
    "leaving": lambda: LeavingError("l"),
    "hanging": lambda: HangingError("h"),
    "strange": lambda: StrangeError("s"),
    "group": lambda: ExceptionGroup(BAD, [ValueError(BAD), ExceptionGroup("in", [OSError(BAD)])]),
    "chain": _chain,
    "noted": _noted,
    "named": lambda: Named("n"),
    "argument": lambda: ValueError(MuteError("inside")),
    "many": lambda: ValueError(*range(100_000)),
    "file": lambda: FileNotFoundError(2, "No such file", BAD),
    "syntax": lambda: SyntaxError("bad", (BAD, 1, 1, BAD, 1, 2)),
    **{name: partial(ValueError, text) for name, text in TEXTS.items()},
}


def _count(log: str) -> None:
    with Path(log).open("a") as file:
        file.write("ran\n")


def fail(kind: str, log: str) -> None:
    """Raise one of them; the log counts how often."""
    _count(log)
    error = ERRORS[kind]()
    raise error


def fail_in_odd_file(log: str) -> None:
    """Raise from a file whose name is not text."""
    _count(log)
    exec(compile("def odd(): raise ValueError('from an odd file')\nodd()", BAD, "exec"), {})


def fail_in_nowhere(log: str) -> None:
    """Raise from a file whose name no system would take."""
    _count(log)
    exec(compile("raise ValueError('from nowhere')", "\ud800\n", "exec"), {})


def speak(log: str, ctx: Context) -> int:
    """Log all of them, and lines that are none."""
    _count(log)
    for text in TEXTS.values():
        ctx.logger.info("file %s", text)
        ctx.logger.warning(text)
    ctx.logger.info("%d", "no number")
    ctx.logger.info("%s %s", "too few")  # noqa: PLE1206  (as people do)
    ctx.logger.info("%s", MuteError("m"))
    ctx.logger.error(MuteError("m"))
    return 1
