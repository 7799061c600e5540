"""The times of schedules: the next ones, and those that were missed.

In: a schedule and a moment. Out: Unix seconds. Not here: what is done then (scheduler).

Work is bounded: the latest missed times are looked for backwards from now, however long nobody
looked. The library that reads cron expressions differs between both directions where clocks
change, so that going back only says where to begin; times always come from going forward.
"""

import re
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from itertools import islice, takewhile

from cronsim import CronSim

from flowcore.ports.schedules import Schedule
from flowcore.types import time_zone

__all__ = ["MOST_MISSED", "first_due", "latest_times", "next_times", "spelled", "times_after"]

#: Missed times that ``catch_up: all`` makes up for: the latest.
MOST_MISSED = 100

#: Clocks move by less than this many seconds.
_MARGIN = 3 * 3600.0

_SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


#: A range of weekdays that ends with Sunday, which is day 7 there, and not day 0.
_TO_SUNDAY = re.compile(r"(?<=[a-z0-9])-sun(?![a-z])", re.IGNORECASE)
_WEEKDAY = 4


def spelled(cron: str) -> list[str]:
    """Return the fields of a cron expression, or of what a short word stands for.

    ``sat-sun`` is Saturday and Sunday, as cronie reads it since 2025.
    """
    fields = _SHORT.get(cron, cron).split()
    if len(fields) > _WEEKDAY:
        terms = fields[_WEEKDAY].split(",")
        fields[_WEEKDAY] = ",".join(_weekdays(term) for term in terms)
    return fields


def _weekdays(term: str) -> str:
    return term if term.lower().startswith(("sun-", "0-")) else _TO_SUNDAY.sub("-7", term)


def times_after(schedule: Schedule, after: float) -> Iterator[float]:
    """Give the times of a schedule after a moment, rising."""
    if schedule.every is not None:
        number = max(0, _passed(schedule.start, schedule.every, after))
        while True:
            number += 1
            if (at := schedule.start + number * schedule.every) > after:
                yield at
    for moment in _cron(schedule, after):
        # In the hour that comes twice, the library goes by the first.
        if (at := moment.timestamp()) > after:
            yield at


def first_due(schedule: Schedule, now: float) -> float | None:
    """Return when a schedule is due next; None: never."""
    return next(times_after(schedule, now), None)


def next_times(schedule: Schedule, now: float, count: int) -> list[float]:
    """Return the next times of a schedule, in Unix seconds."""
    return list(islice(times_after(schedule, now), count))


def latest_times(schedule: Schedule, *, after: float, now: float, count: int) -> list[float]:
    """Return the latest times of a schedule after one moment and up to another, rising.

    Args:
        schedule: The schedule.
        after: Times up to this one do not count.
        now: The latest that counts.
        count: How many at most.
    """
    if schedule.every is not None:
        last = max(0, _passed(schedule.start, schedule.every, now))
        begin = max(after, schedule.start + (last - count) * schedule.every - schedule.every / 2)
    else:
        begin = max(after, _before(schedule, after=after, now=now, count=count))
    found = takewhile(lambda at: at <= now, times_after(schedule, begin))
    return list(deque(found, maxlen=count))


def _before(schedule: Schedule, *, after: float, now: float, count: int) -> float:
    """A moment before the latest ``count`` times, and not long before."""
    for number, moment in enumerate(_cron(schedule, now + 1, reverse=True), start=1):
        at = moment.timestamp()
        if number >= count or at <= after:
            return at - _MARGIN
    return after


def _cron(schedule: Schedule, moment: float, *, reverse: bool = False) -> CronSim:
    text = " ".join(spelled(schedule.cron or ""))
    where = datetime.fromtimestamp(moment, time_zone(schedule.zone))
    return CronSim(text, where, reverse)


def _passed(start: float, every: float, moment: float) -> int:
    return int((moment - start) // every)
