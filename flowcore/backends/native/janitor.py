"""The janitor as a part of every Celery worker (a bootstep).

In: the worker's start and stop. Out: a thread in its parent process that runs the janitor.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from celery import bootsteps

from flowcore.backends.native.announcement import make_note, marked_callables, with_memory
from flowcore.backends.native.forking import free_locks_in_children
from flowcore.backends.native.host import Services, show_end
from flowcore.engine.janitor import Janitor
from flowcore.errors import FlowcoreError
from flowcore.ports.presence import WorkerNote
from flowcore.run.status import RunState

__all__ = ["NOTE_KEPT", "JanitorStep"]

_log = logging.getLogger(__name__)

_PAUSE_AFTER_TROUBLE = 2.0

#: Seconds between two looks at the schedules.
_SCHEDULES_EVERY = 1.0

#: Seconds between renewals of the worker's note on the board.
_NOTE_EVERY = 2.0

#: Seconds for which a note is fresh: two renewals may get lost.
NOTE_KEPT = 3 * _NOTE_EVERY

#: Seconds between two warnings of a store that is getting full.
_WARN_EVERY = 60.0


class JanitorStep(bootsteps.StartStopStep):
    """Starts the janitor with the worker and stops it first when the worker stops."""

    def __init__(self, worker: Any, **options: Any) -> None:
        """Celery makes one for each worker."""
        super().__init__(worker, **options)
        free_locks_in_children()  # steps are made before any starts: there is no pool yet
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, worker: Any) -> None:
        """Begin housekeeping."""
        bridge = worker.app.flowcore
        services: Services = bridge.services()
        note = make_note(worker, bridge.options.engines())
        self._thread = threading.Thread(
            target=self._run,
            args=(services, note, partial(with_memory, worker=worker)),
            name="flowcore-janitor",
            daemon=True,
        )
        self._thread.start()

    def stop(self, worker: Any) -> None:  # noqa: ARG002  (celery's signature)
        """End housekeeping."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def _run(
        self, services: Services, note: WorkerNote, renewed: Callable[[WorkerNote], WorkerNote]
    ) -> None:
        def finished(runs: Mapping[str, RunState]) -> None:
            for run, state in runs.items():
                show_end(services, run, worker=note.name, state=state)

        crowd = 1
        offered = marked_callables()
        janitor = Janitor(
            store=services.store,
            dispatcher=services.dispatcher,
            backlog=lambda dispatch: services.dispatcher.backlog(
                dispatch, services.store.get_plan(dispatch.plan)
            ),
            on_finished=finished,
            workers=lambda: crowd,
        )
        posted = -_NOTE_EVERY
        warned = -_WARN_EVERY
        scheduled = -_SCHEDULES_EVERY
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                if started - posted >= _NOTE_EVERY:
                    services.board.post(renewed(note), keep=NOTE_KEPT, callables=offered)
                    crowd = services.board.count()
                    posted = started
                    warned = _warn(services, warned)
                pause = janitor.step()
                if started - scheduled >= _SCHEDULES_EVERY:
                    scheduled = started
                    services.scheduler.step()
            except FlowcoreError as error:
                _log.warning("the janitor could not look around: %s", error)
                pause = _PAUSE_AFTER_TROUBLE
            except Exception:  # noqa: BLE001
                # Whatever it is, a worker without a janitor would be worse.
                _log.exception("the janitor stumbled after %.1f s", time.monotonic() - started)
                pause = _PAUSE_AFTER_TROUBLE
            self._stop.wait(pause)
        with contextlib.suppress(FlowcoreError):
            services.board.remove(note.id)


def _warn(services: Services, warned: float) -> float:
    """Say now and then that the store is getting full; return when that was last said."""
    now = time.monotonic()
    if now - warned < _WARN_EVERY or not (warning := services.room.warning()):
        return warned
    _log.warning("%s", warning)
    return now
