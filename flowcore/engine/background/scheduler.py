"""SCHEDULE: runs at times, needing no leader.

In: the schedules that are due. Out: runs, and when each is due next. Not here: who looks, and how
often (backends).

Everybody may look at the same time: a run's id is made of the schedule's name and the time that it
is for, so it is created once; and only one of them moves the schedule on.
"""

import logging
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from cronsim import CronSimError

from flowcore.engine.background.schedule_times import (
    MOST_MISSED,
    first_due,
    latest_times,
    next_times,
    spelled,
    times_after,
)
from flowcore.engine.values.isolation import Deadline, Isolation, sentence_of
from flowcore.errors import FlowcoreError, StoreFullError, StoreUnreachableError, UsageError
from flowcore.expr.secrets import SECRETS
from flowcore.expr.template import compile_template
from flowcore.ports.schedules import CATCH_UP, OVERLAP, Schedule, ScheduleStore
from flowcore.run.wire import pack
from flowcore.types import time_zone

__all__ = [
    "Firing",
    "Scheduler",
    "check_schedule",
    "definition_of",
    "first_due",
    "input_for",
    "next_times",
    "run_id",
    "updated",
]

_log = logging.getLogger(__name__)

#: Seconds that a time may be late and is no missed one.
GRACE = 60.0

#: Seconds after which a step leaves the rest for the next one, and schedules that it looks at.
_STEP = 1.0
_AT_ONCE = 200

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,79}")
_FIELDS = 5


class Firing(Protocol):
    """Operations on runs that a schedule needs."""

    def fire(self, schedule: Schedule, run: str, input: Any) -> None:
        """Create the run of a time, once per id."""
        ...

    def is_open(self, run: str) -> bool:
        """Return whether a run exists and has not ended."""
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
    if SECRETS in compile_template(schedule.input).names:
        msg = (
            "a schedule's input is recorded: read secrets in the 'with' of the node that needs them"
        )
        raise UsageError(msg)
    _check_times(schedule)


def _check_times(schedule: Schedule) -> None:
    try:
        time_zone(schedule.zone)
    except (KeyError, ValueError, OSError) as error:
        msg = f"there is no time zone {schedule.zone!r}; write one such as Europe/Berlin"
        raise UsageError(msg) from error
    try:
        if schedule.cron is not None and len(spelled(schedule.cron)) != _FIELDS:
            # Of six, the library would take one for seconds.
            raise CronSimError("wrong number of fields")  # noqa: TRY301
        next(times_after(schedule, schedule.start))
    except (CronSimError, StopIteration) as error:
        why = "it never comes" if isinstance(error, StopIteration) else str(error).lower()
        msg = (
            f"{schedule.cron!r} is not a cron expression ({why}): write five fields, minute "
            "hour day month weekday, such as '30 2 * * 1-5', or @daily"
        )
        raise UsageError(msg) from error


def run_id(schedule: Schedule, at: float) -> str:
    """The id of the run of a time."""
    return f"{schedule.name}:{_iso(at)}"


def _iso(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    text = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")


class Scheduler:
    """Looks after the schedules of a namespace; one thread of a process."""

    def __init__(
        self,
        book: ScheduleStore,
        firing: Callable[[], Firing],
        *,
        isolation: Isolation | None = None,
    ) -> None:
        """Serve what is in ``book``; one that fails is left alone by ``isolation``."""
        self._book = book
        self._firing = firing
        self._isolation = isolation or Isolation("schedules")

    def step(self) -> int:
        """Fire what is due, for about a second; return how many schedules were served.

        One that fails is marked and left for later, and holds up no other. What is due and has not
        been looked at is so at the next step.
        """
        now = self._book.now()
        deadline = Deadline(seconds=_STEP)
        served = 0
        for schedule in self._book.due(now, limit=_AT_ONCE + self._isolation.held):
            if deadline.is_over():
                break
            served += self._isolation.serve(
                schedule.name,
                lambda schedule=schedule: self._look(schedule, now),  # type: ignore[misc]
                version=definition_of(schedule),
            )
        return served

    def _look(self, schedule: Schedule, now: float) -> None:
        if schedule.is_unreadable:
            raise UsageError(schedule.trouble or "it cannot be read")
        try:
            self._serve(schedule, now)
        except (StoreUnreachableError, StoreFullError):
            raise  # it is due until somebody could serve it
        except FlowcoreError as error:
            _log.warning("schedule %s came to nothing: %s", schedule.name, error)
            self._move(schedule, now, trouble=str(error))
        except Exception as error:
            # Such as a time zone that this machine does not know: others may.
            self._mark(schedule, f"a worker cannot serve it: {sentence_of(error)}")
            raise

    def _serve(self, schedule: Schedule, now: float) -> None:
        last, trouble = schedule.last_run, None
        firing = self._firing()
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
        self._book.put(moved, expected=schedule.revision)

    def _mark(self, schedule: Schedule, trouble: str) -> None:
        """Say in the book what is wrong with it; it stays due."""
        if schedule.trouble != trouble:
            with suppress(FlowcoreError):
                self._book.put(replace(schedule, trouble=trouble), expected=schedule.revision)


def definition_of(schedule: Schedule) -> Schedule:
    """Return a schedule without what becomes of it: what whoever puts it says."""
    return replace(schedule, start=0.0, due=None, last_run=None, trouble=None, revision=0)


def updated(
    old: Schedule | None, new: Schedule, *, paused: bool | None = None, now: float
) -> Schedule:
    """Return what is kept when a schedule is put: the old one itself if nothing changes.

    Args:
        old: The one that is there.
        new: What it shall be.
        paused: Whether it waits to be resumed; None: an unchanged one stays as it is.
        now: The time, in Unix seconds.
    """
    if old is None or old.is_unreadable:
        made = replace(new, start=now, paused=bool(paused))
        return replace(made, due=first_due(made, now))
    same = _packed(replace(new, paused=old.paused)) == _packed(old)
    if same and paused in (None, old.paused):
        return old
    kept = replace(
        new,
        start=old.start,
        due=old.due,
        paused=bool(paused),
        last_run=old.last_run,
        trouble=old.trouble if same else None,
    )
    if not _same_times(old, new):
        kept = replace(kept, start=now)
    if not _same_times(old, new) or (old.paused and not kept.paused):
        kept = replace(kept, due=first_due(kept, now))
    return kept


def _same_times(old: Schedule, new: Schedule) -> bool:
    return (old.cron, old.every, old.zone) == (new.cron, new.every, new.zone)


def _packed(schedule: Schedule) -> bytes:
    """Encode a schedule's definition as it is kept: 1 and True are not the same."""
    packed: bytes = pack(list(asdict(definition_of(schedule)).values()), what="schedule")
    return packed


def _to_fire(schedule: Schedule, now: float) -> list[float]:
    """The times to make runs for: the one that is due, and missed ones that are made up for."""
    if schedule.due is None:
        return []
    count = MOST_MISSED if schedule.catch_up == "all" else 1
    later = latest_times(schedule, after=schedule.due, now=now, count=count)
    times = [schedule.due, *later][-count:]
    if schedule.catch_up == "skip":
        return [at for at in times if now - at <= GRACE]
    return times


def input_for(schedule: Schedule, at: float) -> Any:
    """The input of the run of a time."""
    template = compile_template(schedule.input)
    return schedule.input if template.still else template.render({"scheduled_for": _iso(at)})
