"""Times and durations: read from text and written as text, to the nanosecond.

In: RFC 3339 (``2026-03-01T00:00:07.5Z``), durations (``1h30m``, ``-0.5s``). Out: Timestamp,
Duration, and text. Not here: arithmetic. Nothing is rounded, cut off or saturated: what cannot be
held is an ``ExpressionError``. Grammar of durations after Go's ParseDuration, as CEL has it.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from fractions import Fraction

from flowcore.errors import ExpressionError
from flowcore.expr.values import INT, Duration, Timestamp
from flowcore.types import time_zone

__all__ = ["duration_of", "moment", "read_duration", "read_time", "time_of", "write"]

SECOND = 1_000_000_000
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": SECOND,
    "m": 60 * SECOND,
    "h": 3600 * SECOND,
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"([-+]?)((?:{_PART.pattern})+|0)")
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?([Zz]|[-+]\d\d:\d\d)?", re.ASCII
)
_OFFSET = re.compile(r"[-+]?\d\d:\d\d", re.ASCII)
_LONGEST = 100
_DIGITS = 9
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The first nanosecond of the year 1, and the last of 9999.
_TIMES = (-62_135_596_800 * SECOND, 253_402_300_800 * SECOND - 1)


def duration_of(nanoseconds: int) -> Duration:
    """Make a duration.

    Raises:
        ExpressionError: It is longer than 64 bits of nanoseconds hold.
    """
    if not INT[0] <= nanoseconds <= INT[1]:
        raise ExpressionError("a duration is of at most 292 years, forwards or backwards")
    return Duration(nanoseconds)


def time_of(nanoseconds: int) -> Timestamp:
    """Make a time.

    Raises:
        ExpressionError: It is not of the years 1 to 9999.
    """
    if not _TIMES[0] <= nanoseconds <= _TIMES[1]:
        raise ExpressionError("a time is of the years 1 to 9999")
    return Timestamp(nanoseconds)


def read_duration(text: str) -> Duration:
    """Read a duration.

    Raises:
        ExpressionError: It is none, or holds more than nanoseconds can tell.
    """
    match = _DURATION.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ExpressionError("the text is not a duration such as '90s', '1h30m' or '-0.5s'")
    parts = (Fraction(_number(one)) * _UNITS[unit] for one, unit in _PART.findall(match[2]))
    total = sum(parts, Fraction(0))
    if total.denominator != 1:
        raise ExpressionError("the text is more precise than nanoseconds")
    return duration_of(-total.numerator if match[1] == "-" else total.numerator)


def _number(text: str) -> str:
    return text.rstrip(".") if text.endswith(".") else text


def read_time(text: str) -> Timestamp:
    """Read a time.

    Raises:
        ExpressionError: It is none, has no offset, or holds more than nanoseconds can tell.
    """
    match = _TIME.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ExpressionError("the text is not a time such as '2026-03-01T00:00:07Z'")
    if match[8] is None:
        raise ExpressionError("the time does not say of which zone it is; add Z or +01:00")
    year, month, day, hour, minute, second = (int(match[at]) for at in range(1, 7))
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        ahead = _offset(match[8])
    except ValueError as error:
        raise ExpressionError(f"the text is not a time: {error}") from None
    fraction = (match[7] or "").rstrip("0")
    if len(fraction) > _DIGITS:
        raise ExpressionError("the text is more precise than nanoseconds")
    days = moment.toordinal() - _EPOCH_DAY
    seconds = days * 86_400 + hour * 3600 + minute * 60 + second - ahead
    return time_of(seconds * SECOND + int(fraction.ljust(_DIGITS, "0")))


def _offset(text: str) -> int:
    """Seconds ahead of UTC."""
    if text in "Zz":
        return 0
    hours, minutes = int(text[-5:-3]), int(text[-2:])
    if hours > 23 or minutes > 59:  # noqa: PLR2004  (RFC 3339)
        msg = "there is no such offset"
        raise ValueError(msg)
    return (-1 if text[0] == "-" else 1) * (hours * 3600 + minutes * 60)


def moment(time: Timestamp, zone: str | None = None) -> datetime:
    """The parts of a time by the clock of a zone (UTC), to the microsecond.

    Raises:
        ExpressionError: The zone is not known.
    """
    plain = _EPOCH + timedelta(microseconds=time.nanoseconds // 1000)
    try:
        return plain.astimezone(_zone(zone)) if zone else plain
    except OverflowError:
        raise ExpressionError("a time is of the years 1 to 9999") from None


def _zone(name: str) -> tzinfo:
    if match := _OFFSET.fullmatch(name):
        try:
            return timezone(timedelta(seconds=_offset(match[0])))
        except ValueError as error:
            raise ExpressionError(str(error)) from None
    try:
        return time_zone(name)
    except (ValueError, OSError, KeyError):
        raise ExpressionError("no such time zone is known here") from None


def write(value: Timestamp | Duration) -> str:
    """Write a time in UTC (``2026-03-01T00:00:07.5Z``), a duration in seconds (``-0.5s``)."""
    seconds, rest = divmod(abs(value.nanoseconds), SECOND)
    if isinstance(value, Duration):
        return f"{'-' if value.nanoseconds < 0 else ''}{seconds}{_fraction(rest)}s"
    seconds, rest = divmod(value.nanoseconds, SECOND)
    plain = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()
    return f"{plain}{_fraction(rest)}Z"


def _fraction(nanoseconds: int) -> str:
    return f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
