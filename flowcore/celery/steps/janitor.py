"""The janitor as a part of every Celery worker (a bootstep).

In: the worker's start and stop. Out: threads in its parent process: one for the runs, one for the
schedules. Not here: what is done (engine).
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from celery import bootsteps
from celery.worker import state as received

from flowcore.celery.fork_safety import prepare_forks_of_workers
from flowcore.celery.monitoring.run_log import hide_details
from flowcore.celery.monitoring.worker_info import make_note, marked_callables, with_memory
from flowcore.celery.run_events import show_end
from flowcore.celery.services import Services
from flowcore.celery.steps.idle_backoff import Activity
from flowcore.engine.background.janitor import Janitor
from flowcore.engine.background.outage import Outage
from flowcore.engine.background.periodic import Chore, look_after
from flowcore.engine.values.isolation import Isolation
from flowcore.errors import FlowcoreError
from flowcore.ports.workers import WorkerInfo
from flowcore.run.status import RunState

__all__ = ["NOTE_KEPT", "JanitorStep"]

_log = logging.getLogger(__name__)

#: Seconds between two looks at the schedules.
_SCHEDULES_EVERY = 1.0

#: Seconds between renewals of the worker's note on the board.
_NOTE_EVERY = 2.0

#: Seconds for which a note is fresh: two renewals may get lost.
NOTE_KEPT = 3 * _NOTE_EVERY

#: Seconds between two looks at the key that signs messages: one command for a whole worker.
_KEY_EVERY = 30.0

#: Seconds between two looks for names of threads whose time is over.
_THREADS_EVERY = 60.0

#: Seconds between two warnings of a store that is getting full.
_WARN_EVERY = 60.0


class JanitorStep(bootsteps.StartStopStep):
    """Starts the janitor with the worker and stops it first when the worker stops."""

    def __init__(self, worker: Any, **options: Any) -> None:
        """Celery makes one for each worker."""
        super().__init__(worker, **options)
        hide_details()
        prepare_forks_of_workers()  # steps are made before any starts: there is no pool yet
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._leave: Callable[[], None] = lambda: None

    def start(self, worker: Any) -> None:
        """Begin housekeeping."""
        bridge = worker.app.flowcore
        services: Services = bridge.services()
        note = make_note(worker, bridge.options.engines())
        # The processes of agents, which another step starts, add to it.
        worker.flowcore_note = note.id

        def renewed(note: WorkerInfo) -> WorkerInfo:
            return replace(with_memory(note, worker), stuck=bridge.host().stuck())

        outage = Outage(bridge.options.heartbeat)
        housekeeping = self._housekeeping(services, note, renewed, outage)
        # Schedules fire runs on servers of which one may not answer: that is no reason to leave
        # the runs on the others alone.
        schedules = [Chore("schedules", lambda: _fire(services), every=_SCHEDULES_EVERY)]
        for name, chores in (("janitor", housekeeping), ("schedules", schedules)):
            thread = threading.Thread(
                target=self._run, args=(chores,), name=f"flowcore-{name}", daemon=True
            )
            thread.start()
            self._threads.append(thread)
        self._leave = lambda: services.board.remove(note.id)

    def stop(self, worker: Any) -> None:  # noqa: ARG002  (celery's signature)
        """End housekeeping."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=5)
        with contextlib.suppress(FlowcoreError):
            self._leave()

    def _run(self, chores: Sequence[Chore]) -> None:
        while not self._stop.is_set():
            self._stop.wait(look_after(chores))

    def _housekeeping(
        self,
        services: Services,
        note: WorkerInfo,
        renewed: Callable[[WorkerInfo], WorkerInfo],
        outage: Outage,
    ) -> list[Chore]:
        crowd = 1

        def finished(runs: Mapping[str, RunState]) -> None:
            for run, state in runs.items():
                show_end(services, run, worker=note.name, state=state)

        offered = marked_callables()

        def post() -> None:
            nonlocal crowd
            services.board.post(renewed(note), keep=NOTE_KEPT, callables=offered)
            crowd = services.board.count()

        activity = Activity(lambda: sum(received.total_count.values()))
        janitor = Janitor(
            store=services.store,
            dispatcher=services.dispatcher,
            backlog=lambda dispatch: services.dispatcher.backlog(
                dispatch, services.store.get_plan(dispatch.plan)
            ),
            on_finished=finished,
            workers=lambda: crowd,
            busy=activity.is_busy,
            isolation=Isolation("runs", services.troubles),
        )
        return [
            # This process verifies messages when it hands them back, perhaps with no server there.
            Chore("the key of messages", services.keys.refresh, every=_KEY_EVERY),
            # It is renewed by every worker, so each notices an outage and its end.
            Chore("the worker's note", partial(outage.note, post), every=_NOTE_EVERY),
            Chore("the names of threads", partial(_tidy, services), every=_THREADS_EVERY),
            Chore("the check of the server's memory", lambda: _warn(services)),
            Chore("the janitor", partial(activity.call, partial(outage.after, janitor.step))),
        ]


def _tidy(services: Services) -> None:
    if gone := services.memory.tidy():
        _log.debug("forgot the names of %d expired threads", gone)


def _fire(services: Services) -> None:
    services.scheduler.step()


def _warn(services: Services) -> float:
    """Say now and then that the store is getting full; return when to look again."""
    if not (warning := services.room.warning()):
        return _NOTE_EVERY
    _log.warning("%s", warning)
    return _WARN_EVERY
