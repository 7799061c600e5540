"""SCHEDULE: runs at times, needing no leader.

In: the schedules that are due. Out: runs, and when each is due next. Not here: who looks, and how
often (backends).

Everybody may look at the same time: a run's id is made of the schedule's name and the time that it
is for, so it is created once; and only one of them moves the schedule on.
"""

import logging
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from flowcore.errors import FlowcoreError, StoreFullError, StoreUnreachableError, UsageError
from flowcore.expr.template import compile_template
from flowcore.ports.schedules import CATCH_UP, OVERLAP, Schedule, ScheduleBook

__all__ = [
    "Firing",
    "Scheduler",
    "check_schedule",
    "first_due",
    "input_for",
    "next_times",
    "run_id",
]

_log = logging.getLogger(__name__)

#: Missed times that ``catch_up: all`` makes up for: the latest.
MOST_MISSED = 100

#: Seconds that a time may be late and is no missed one.
GRACE = 60.0

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,79}")
_FIELDS = 5
_SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class Firing(Protocol):
    """What a schedule needs of the place where runs live."""

    def fire(self, schedule: Schedule, run: str, input: Any) -> None:
        """Create the run of a time, once per id."""
        ...

    def is_open(self, run: str) -> bool:
        """Whether a run exists and has not ended."""
        ...

    def cancel(self, run: str, reason: str) -> None:
        """Stop a run."""
        ...


def check_schedule(schedule: Schedule) -> None:
    """Refuse a schedule that could not be.

    Raises:
        UsageError: Says what is wrong, and how it is written.
    """
    if not _NAME.fullmatch(schedule.name):
        msg = f"a schedule's name is letters, digits, '_', '.' and '-', got {schedule.name!r}"
        raise UsageError(msg)
    if (schedule.cron is None) == (schedule.every is None):
        msg = "a schedule needs either a cron expression, such as '0 2 * * *', or an interval"
        raise UsageError(msg)
    if schedule.every is not None and schedule.every < 1:
        raise UsageError(f"an interval is at least 1 s, got {schedule.every:g} s")
    for what, given, known in (
        ("catch-up", schedule.catch_up, CATCH_UP),
        ("overlap", schedule.overlap, OVERLAP),
    ):
        if given not in known:
            raise UsageError(f"{what} is one of {', '.join(known)}, got {given!r}")
    compile_template(schedule.input)
    _check_times(schedule)


def _check_times(schedule: Schedule) -> None:
    try:
        ZoneInfo(schedule.zone)
    except (KeyError, ValueError, OSError) as error:
        msg = f"there is no time zone {schedule.zone!r}; write one such as Europe/Berlin"
        raise UsageError(msg) from error
    try:
        if schedule.cron is not None and len(_fields(schedule.cron)) != _FIELDS:
            # Of six, the library would take one for seconds.
            raise CronSimError("wrong number of fields")  # noqa: TRY301
        next(_times(schedule, schedule.start))
    except (CronSimError, StopIteration) as error:
        why = "it never comes" if isinstance(error, StopIteration) else str(error).lower()
        msg = (
            f"{schedule.cron!r} is not a cron expression ({why}): write five fields, minute "
            "hour day month weekday, such as '30 2 * * 1-5', or @daily"
        )
        raise UsageError(msg) from error


def _fields(cron: str) -> list[str]:
    return _SHORT.get(cron, cron).split()


def _times(schedule: Schedule, after: float) -> Iterator[float]:
    """The times of a schedule after a moment, rising."""
    if schedule.every is not None:
        gone = int((after - schedule.start) // schedule.every)
        number = max(0, gone)
        while True:
            number += 1
            if (at := schedule.start + number * schedule.every) > after:
                yield at
    zone = ZoneInfo(schedule.zone)
    text = " ".join(_fields(schedule.cron or ""))
    for moment in CronSim(text, datetime.fromtimestamp(after, zone)):
        # In the hour that comes twice, the library goes by the first.
        if (at := moment.timestamp()) > after:
            yield at


def first_due(schedule: Schedule, now: float) -> float | None:
    """When a schedule is due next; None: never."""
    return next(_times(schedule, now), None)


def next_times(schedule: Schedule, now: float, count: int) -> list[float]:
    """The next times of a schedule, in Unix seconds."""
    times = _times(schedule, now)
    return [at for _, at in zip(range(count), times, strict=False)]


def run_id(schedule: Schedule, at: float) -> str:
    """The id of the run of a time."""
    return f"{schedule.name}:{_iso(at)}"


def _iso(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    text = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Scheduler:
    """Looks after the schedules of a namespace."""

    book: ScheduleBook
    firing: Callable[[], Firing]

    def step(self) -> int:
        """Fire what is due; return how many schedules that were."""
        now = self.book.now()
        due = self.book.due(now)
        for schedule in due:
            try:
                self._serve(schedule, now)
            except (StoreUnreachableError, StoreFullError):
                raise  # the schedule is due until somebody could serve it
            except FlowcoreError as error:
                _log.warning("schedule %s came to nothing: %s", schedule.name, error)
                self._move(schedule, now, trouble=str(error))
        return len(due)

    def _serve(self, schedule: Schedule, now: float) -> None:
        last, trouble = schedule.last_run, None
        firing = self.firing()
        for at in _to_fire(schedule, now):
            run = run_id(schedule, at)
            if last is not None and last != run and firing.is_open(last):
                if schedule.overlap == "skip":
                    trouble = f"the run for {_iso(at)} was skipped: {last} has not ended"
                    continue
                if schedule.overlap == "cancel":
                    firing.cancel(last, f"schedule {schedule.name}: the next run is due")
            firing.fire(schedule, run, input_for(schedule, at))
            last = run
        self._move(schedule, now, last=last, trouble=trouble)

    def _move(
        self,
        schedule: Schedule,
        now: float,
        *,
        last: str | None = None,
        trouble: str | None = None,
    ) -> None:
        """Say when it is due next, unless somebody else has, or has changed it."""
        moved = replace(
            schedule,
            due=first_due(schedule, now),
            last_run=last or schedule.last_run,
            trouble=trouble,
        )
        self.book.put(moved, expected=schedule.revision)


def _to_fire(schedule: Schedule, now: float) -> list[float]:
    """The times to make runs for: the one that is due, and missed ones that are made up for."""
    if schedule.due is None:
        return []
    later = takewhile(lambda at: at <= now, _times(schedule, schedule.due))
    times = list(deque((schedule.due, *later), maxlen=MOST_MISSED))
    if schedule.catch_up == "all":
        return times
    if schedule.catch_up == "last":
        return times[-1:]
    return [at for at in times[-1:] if now - at <= GRACE]


def input_for(schedule: Schedule, at: float) -> Any:
    """The input of the run of a time."""
    template = compile_template(schedule.input)
    return schedule.input if template.still else template.render({"scheduled_for": _iso(at)})
