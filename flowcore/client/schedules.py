"""Schedules from Python: make, list, pause and remove them.

In: a deployed flow and when it is to run. Out: it runs then, on whatever worker looks first. Every
call has an async twin whose name starts with ``a``. Not here: when that is
(engine.background.scheduler).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from flowcore.assembly.session import Session, default_session
from flowcore.client.run import Run
from flowcore.client.threads import in_thread, refuse_in_loop
from flowcore.engine.background.scheduler import (
    check_schedule,
    first_due,
    input_for,
    next_times,
    run_id,
    updated,
)
from flowcore.engine.runs.deployments import find_flow
from flowcore.engine.runs.inputs import accept_input
from flowcore.engine.runs.scheduled import EngineFiring
from flowcore.errors import UsageError
from flowcore.ports.schedules import Schedule
from flowcore.types import parse_duration

__all__ = ["Schedules"]

_TRIES = 5


class Schedules:
    """The schedules of a session's place."""

    def __init__(self, *, session: Session | None = None) -> None:
        """Use a session; the process's default session when left out."""
        self._session = session or default_session()

    def put(  # noqa: PLR0913  (what a schedule is made of)
        self,
        name: str,
        flow: str,
        *,
        cron: str | None = None,
        every: float | str | None = None,
        zone: str = "UTC",
        input: Any = None,
        tags: Sequence[str] = (),
        priority: int = 5,
        catch_up: str = "skip",
        overlap: str = "skip",
        paused: bool | None = None,
    ) -> Schedule:
        """Make a schedule, or change the one of this name.

        One that is as it was stays as it is, its next time included: an application may put its
        schedules each time that it starts.

        Args:
            name: Its name; the runs are called ``NAME:TIME``.
            flow: A deployed flow: ``name``, or ``name@version``.
            cron: Five fields (minute hour day month weekday), or such as ``@daily``.
            every: Or an interval: seconds, or text such as ``15m``, counted from now.
            zone: The time zone of ``cron``.
            input: The runs' input; ``${{ scheduled_for }}`` is the time that a run is for.
            tags: Words to find the runs by.
            priority: As for ``flow.enqueue``.
            catch_up: What of the times that passed while no worker looked is made up for: ``skip``
                (none), ``last`` (the latest) or ``all`` (up to 100).
            overlap: When it is time and the last run has not ended: ``skip`` this time, ``cancel``
                that run, or ``allow`` both.
            paused: Whether it waits to be resumed. Left out: a schedule that is as it was is left
                as it is, any other goes on.

        Raises:
            UsageError: Something is wrong with it, the flow is not deployed, or the input is not
                what it declares.
        """
        refuse_in_loop("schedules.put()", "schedules.aput()")
        made = Schedule(
            name=name,
            flow=flow,
            cron=cron,
            every=None if every is None else _seconds(every),
            zone=zone,
            input=input,
            tags=tuple(tags),
            priority=priority,
            catch_up=catch_up,  # type: ignore[arg-type]  # looked at by check_schedule
            overlap=overlap,  # type: ignore[arg-type]
        )
        check_schedule(made)
        book = self._session.runtime.schedules
        for _ in range(_TRIES):
            old = book.get(name)
            kept = updated(old, made, paused=paused, now=book.now())
            self._check_input(kept)
            if kept is old or book.put(kept, expected=_revision_of(old)):
                return kept
        raise _changed(name)

    def _check_input(self, schedule: Schedule) -> None:
        """Refuse what the flow would not take, or a flow that is not there."""
        runtime = self._session.runtime
        found = find_flow(runtime.flows, schedule.flow)
        at = runtime.schedules.now() if schedule.due is None else schedule.due
        accept_input(runtime.store.get_plan(found.plan).inputs, input_for(schedule, at))

    async def aput(  # noqa: PLR0913  (as for put)
        self,
        name: str,
        flow: str,
        *,
        cron: str | None = None,
        every: float | str | None = None,
        zone: str = "UTC",
        input: Any = None,
        tags: Sequence[str] = (),
        priority: int = 5,
        catch_up: str = "skip",
        overlap: str = "skip",
        paused: bool | None = None,
    ) -> Schedule:
        """Make a schedule, or change the one of this name, without blocking; see ``put``."""
        return await in_thread(
            lambda: self.put(
                name,
                flow,
                cron=cron,
                every=every,
                zone=zone,
                input=input,
                tags=tags,
                priority=priority,
                catch_up=catch_up,
                overlap=overlap,
                paused=paused,
            )
        )

    def get(self, name: str) -> Schedule:
        """Return a schedule.

        Raises:
            UsageError: There is none of this name.
        """
        refuse_in_loop("schedules.get()", "schedules.aget()")
        found = self._session.runtime.schedules.get(name)
        if found is None:
            names = ", ".join(one.name for one in self.list()[:10]) or "none"
            raise UsageError(f"there is no schedule {name!r}; there are: {names}")
        return found

    async def aget(self, name: str) -> Schedule:
        """Return a schedule without blocking."""
        return await in_thread(self.get, name)

    def list(self) -> Sequence[Schedule]:
        """Return all schedules, by name."""
        refuse_in_loop("schedules.list()", "schedules.alist()")
        return self._session.runtime.schedules.schedules()

    async def alist(self) -> Sequence[Schedule]:
        """Return all schedules without blocking."""
        return await in_thread(self.list)

    def next(self, name: str, count: int = 5) -> Sequence[float]:
        """Return the next times of a schedule, in Unix seconds."""
        refuse_in_loop("schedules.next()", "schedules.anext()")
        return next_times(self.get(name), self._session.runtime.schedules.now(), count)

    async def anext(self, name: str, count: int = 5) -> Sequence[float]:
        """Return the next times of a schedule without blocking."""
        return await in_thread(self.next, name, count)

    def pause(self, name: str) -> Schedule:
        """Let a schedule have no turn until it is resumed."""
        refuse_in_loop("schedules.pause()", "schedules.apause()")
        return self._change(name, lambda one: replace(one, paused=True))

    async def apause(self, name: str) -> Schedule:
        """Pause a schedule without blocking."""
        return await in_thread(self.pause, name)

    def resume(self, name: str) -> Schedule:
        """Let a paused schedule go on; the times that have passed are none that were missed."""
        refuse_in_loop("schedules.resume()", "schedules.aresume()")
        now = self._session.runtime.schedules.now()
        return self._change(name, lambda one: replace(one, paused=False, due=first_due(one, now)))

    async def aresume(self, name: str) -> Schedule:
        """Resume a schedule without blocking."""
        return await in_thread(self.resume, name)

    def remove(self, name: str) -> None:
        """Forget a schedule; its runs go on.

        Raises:
            UsageError: There is none of this name.
        """
        refuse_in_loop("schedules.remove()", "schedules.aremove()")
        self.get(name)
        self._session.runtime.schedules.remove(name)

    async def aremove(self, name: str) -> None:
        """Forget a schedule without blocking."""
        await in_thread(self.remove, name)

    def run_now(self, name: str) -> Run:
        """Make a run of a schedule now, beside those of its times."""
        refuse_in_loop("schedules.run_now()", "schedules.arun_now()")
        runtime = self._session.runtime
        schedule, now = self.get(name), runtime.schedules.now()
        run = f"{run_id(schedule, now)}-now"
        slots = runtime.slots.count if runtime.settings.work_first else None
        firing = EngineFiring(
            store=runtime.store,
            reader=runtime.reader,
            dispatcher=runtime.dispatcher,
            payloads=runtime.payloads,
            flows=runtime.flows,
            namespace=runtime.settings.namespace,
            slots=slots,
        )
        firing.fire(schedule, run, input_for(schedule, now))
        return Run(run, session=self._session)

    async def arun_now(self, name: str) -> Run:
        """Make a run of a schedule now without blocking."""
        return await in_thread(self.run_now, name)

    def _change(self, name: str, change: Callable[[Schedule], Schedule]) -> Schedule:
        for _ in range(_TRIES):
            schedule = self.get(name)
            changed = change(schedule)
            if self._session.runtime.schedules.put(changed, expected=schedule.revision):
                return changed
        raise _changed(name)


def _changed(name: str) -> UsageError:
    return UsageError(f"schedule {name!r} changed each time it was to be changed; try again")


def _revision_of(old: Schedule | None) -> int | None:
    return None if old is None else old.revision


def _seconds(every: float | str) -> float:
    try:
        return parse_duration(every)
    except ValueError as error:
        raise UsageError(f"an interval: {error}") from error
