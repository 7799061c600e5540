"""Retry-After: how long another side asks to wait, and the statuses after which waiting helps.

In: the headers of an answer. Out: seconds, or None. Not here: waiting (engine.policies.retry).
"""

import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["may_pass", "retry_after"]

#: Statuses below 500 after which the same request may be answered otherwise.
_MAY_PASS = frozenset({408, 409, 425, 429})
_SERVER_ERRORS = range(500, 600)

_NUMBER = re.compile(r"\d{1,15}(\.\d{1,15})?")
_MILLISECONDS = 1000.0


def may_pass(status: int) -> bool:
    """Return whether the same request may succeed in a while."""
    return status in _MAY_PASS or status in _SERVER_ERRORS


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how many seconds an answer asks to wait.

    Args:
        headers: Those of the answer, whose names are found in any case.

    Returns:
        Seconds; None if it does not ask, or asks for nothing that is a time to come.
    """
    exact = _seconds(headers.get("retry-after-ms", ""))
    if exact is not None:
        return exact / _MILLISECONDS
    said = headers.get("retry-after", "").strip()
    found = _seconds(said)
    return _until(said, headers.get("date", "")) if found is None else found


def _seconds(said: str) -> float | None:
    said = said.strip()
    return float(said) if _NUMBER.fullmatch(said) else None


def _until(said: str, now: str) -> float | None:
    """Seconds until a date, by the clock of the server that has named it."""
    moment = _moment(said)
    if moment is None:
        return None
    since = _moment(now)
    left = moment - (time.time() if since is None else since)
    return left if left > 0 and math.isfinite(left) else None


def _moment(said: str) -> float | None:
    try:
        found = parsedate_to_datetime(said)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    try:
        return _aware(found).timestamp()
    except (ValueError, OverflowError):
        return None


def _aware(found: datetime) -> datetime:
    return found if found.tzinfo else found.replace(tzinfo=UTC)
