"""Plain vocabulary shared by every room: JSON values, durations and time zones.

In: nothing. Out: type aliases, the duration grammar, time zones by name. Not here: flows.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo
from typing import TypeAlias
from zoneinfo import ZoneInfo

__all__ = ["LONGEST", "Json", "JsonObject", "format_duration", "parse_duration", "time_zone"]

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
JsonObject: TypeAlias = Mapping[str, "Json"]

#: Seconds of the longest duration that anybody means: 100 years.
LONGEST = 100 * 365.25 * 86400.0

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


def parse_duration(value: object) -> float:
    """Read a duration such as ``30``, ``1.5``, ``"30s"``, ``"500ms"`` or ``"1h30m"``.

    Args:
        value: A number of seconds, or text made of a number and a unit
            (ms, s, m, h, d), repeated from large to small.

    Returns:
        The duration in seconds, zero or more.

    Raises:
        ValueError: The value is negative, more than 100 years, or not in the grammar.
    """
    if isinstance(value, bool):
        msg = f"expected a duration such as '30s' or 1.5, got {str(value).lower()}"
        raise ValueError(msg)  # noqa: TRY004  (pydantic turns a ValueError into a problem)
    if isinstance(value, int | float):
        if value < 0 or (isinstance(value, float) and not math.isfinite(value)):
            msg = f"a duration cannot be negative or infinite, got {_shown(value)}"
            raise ValueError(msg)
        return _bounded(value, value)
    if isinstance(value, str):
        text = value.strip()
        seconds = _seconds(text)
        if seconds is not None:
            return _bounded(seconds, value)
        if text.startswith("-") and _seconds(text[1:]) is not None:
            msg = f"a duration cannot be negative, got {_shown(value)}"
            raise ValueError(msg)
    shown = "nothing" if value is None else f"{value!r:.80}"
    msg = f"expected a duration such as '30s', '500ms' or '1h30m', got {shown}"
    raise ValueError(msg)


def _seconds(text: str) -> float | None:
    """Read the text of a duration; None if it is none."""
    if _WHOLE.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return float(text) if _NUMBER.fullmatch(text) else None


def _bounded(seconds: float, given: object) -> float:
    """Refuse what is so long that it means for ever."""
    if seconds <= LONGEST:
        return float(seconds)
    msg = f"a duration is at most 100 years, got {_shown(given)}"
    raise ValueError(msg)


def _shown(given: object) -> str:
    return f"{given:.6g}" if isinstance(given, float) else f"{given!s:.40}"


def format_duration(seconds: float) -> str:
    """Write seconds the way people read them: ``12 ms``, ``3.42 s``, ``2 m 05 s``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:  # noqa: PLR2004  (seconds in a minute)
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004  (minutes in an hour)
        return f"{minutes} m {rest:02d} s"
    if seconds > LONGEST:
        return "more than 100 years"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} m"


def time_zone(name: str) -> tzinfo:
    """Return a time zone by its name; UTC is there where no data of time zones is installed.

    Raises:
        KeyError: There is no such zone here.
        ValueError: It is no name of a zone.
        OSError: The data cannot be read.
    """
    return UTC if name == "UTC" else ZoneInfo(name)
