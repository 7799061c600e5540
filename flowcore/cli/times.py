"""Times for people and for programs.

In: unix seconds. Out: ``3m ago`` or ``in 2h`` in tables, ISO 8601 in UTC everywhere else.
Not here: durations (types).
"""

import time
from datetime import UTC, datetime
from typing import Annotated, Self

import typer

__all__ = ["Absolute", "Time", "iso", "show_time"]

_NOW = 1.0
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "m"), (1.0, "s"))
#: Beyond so many seconds the date says more.
_FAR = 100 * 86400.0


class _Shown:
    """Format of times in the tables of the running command."""

    absolute = False


def _choose(value: bool) -> bool:
    _Shown.absolute = value
    return value


Absolute = Annotated[
    bool,
    typer.Option("--absolute", callback=_choose, help="Times as in -o json, not as '3m ago'."),
]


class Time(str):  # noqa: SLOT000
    """A time as ISO 8601 text, which a table shows as the time that has passed since."""

    seconds: float

    def __new__(cls, seconds: float) -> Self:
        """Write unix seconds as ISO 8601 in UTC, with milliseconds."""
        text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
        made = super().__new__(cls, text.replace("+00:00", "Z"))
        made.seconds = seconds
        return made


def iso(seconds: float | None) -> Time | None:
    """Write unix seconds as ISO 8601 in UTC; None stays None."""
    return None if seconds is None else Time(seconds)


def show_time(seconds: float | None, *, now: float | None = None) -> str:
    """Say in a few letters how long ago something was, or how far ahead.

    Args:
        seconds: Unix seconds; None: nothing to say.
        now: Unix seconds; this machine's clock when left out.
    """
    if seconds is None:
        return ""
    apart = seconds - (time.time() if now is None else now)
    if _Shown.absolute or abs(apart) >= _FAR:
        return str(Time(seconds))
    if abs(apart) < _NOW:
        return "now"
    size, unit = next(pair for pair in _UNITS if abs(apart) >= pair[0])
    count = f"{int(abs(apart) / size)}{unit}"
    return f"in {count}" if apart > 0 else f"{count} ago"
