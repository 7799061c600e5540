"""Callbacks: found by name, told of events, and followed on a worker.

In: names, events, turns. Out: calls. Not here: whose turn it is (ports.callbacks).
"""

import asyncio
import inspect
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.metadata import entry_points
from typing import Any

from flowcore.engine.values.isolation import Isolation
from flowcore.errors import FlowcoreError, UsageError
from flowcore.nodes.resolve import named_object
from flowcore.ports.callbacks import CallbackQueue, Turn
from flowcore.ports.store import EventLog
from flowcore.ports.troubles import TroubleBook
from flowcore.run.callbacks import METHODS, calls_of
from flowcore.run.event import Event

__all__ = ["CallbackRunner", "find_callbacks", "tell", "tell_all"]

_log = logging.getLogger("flowcore.callbacks")

_GROUP = "flowcore.callbacks"

#: Seconds between two looks when nothing is due.
_PAUSE = 0.2
_PAUSE_AFTER_TROUBLE = 2.0

#: Seconds for which a run that was quiet for long is left alone: there may be very many that sleep.
_PATIENCE = 60.0


def find_callbacks(given: Any) -> Any:
    """Find callbacks by name; refuse what would never be called.

    Raises:
        UsageError: It has none of the methods, or cannot be found.
    """
    found = _named(given) if isinstance(given, str) else given
    if not any(callable(getattr(found, method, None)) for method in METHODS):
        msg = f"{given!r} has none of the methods of callbacks: {', '.join(METHODS)}"
        raise UsageError(msg)
    return found


def _named(name: str) -> Any:
    points = list(entry_points(group=_GROUP, name=name))
    if not points and ":" not in name:
        known = ", ".join(sorted(point.name for point in entry_points(group=_GROUP)))
        msg = f"no callbacks are called {name!r} (installed: {known or 'none'}); or module:object"
        raise UsageError(msg)
    try:
        found = points[0].load() if points else named_object(name)
        return found() if inspect.isclass(found) else found
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise UsageError(f"callbacks {name!r} cannot be found or made: {what}") from error


def tell(heard: Sequence[Any], page: Sequence[Event], runner: asyncio.Runner) -> None:
    """Tell callbacks of events, in order; one that fails is told of in the log.

    Sync methods are called outside of the loop: what they call may block, too.
    """
    for call, event, trouble in _calls(heard, page):
        with trouble:
            answer = call(event)
            if inspect.isawaitable(answer):
                runner.run(_awaited(answer))


async def tell_all(heard: Sequence[Any], page: Sequence[Event]) -> None:
    """Tell callbacks like ``tell``, on the loop that is running."""
    for call, event, trouble in _calls(heard, page):
        with trouble:
            answer = call(event)
            if inspect.isawaitable(answer):
                await answer


def _calls(
    heard: Sequence[Any], page: Sequence[Event]
) -> Iterator[tuple[Callable[[Event], Any], Event, AbstractContextManager[None]]]:
    for event in page:
        for method, about in calls_of(event):
            for one in heard:
                if (call := getattr(one, method, None)) is not None:
                    yield call, about, _harmless(one, method, about)


@contextmanager
def _harmless(callbacks: Any, method: str, event: Event) -> Iterator[None]:
    """Whatever a callback raises, the run goes on."""
    try:
        yield
    except (Exception, SystemExit):  # noqa: BLE001  (a callback is the user's code)
        _log.exception("%s.%s failed for %s of run %s", callbacks, method, event.type, event.run)


async def _awaited(answer: Awaitable[Any]) -> None:
    await answer


class CallbackRunner:
    """Tells a worker's callbacks of runs, one run at a time, until it is stopped."""

    def __init__(
        self,
        heard: Sequence[Any],
        *,
        desk: CallbackQueue,
        events: EventLog,
        lease: float,
        troubles: TroubleBook | None = None,
    ) -> None:
        """Prepare; ``run`` and ``renew`` each want a thread of their own."""
        self._heard = heard
        self._desk = desk
        self._events = events
        self._lease = lease
        self._isolation = Isolation("callbacks", troubles)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._turn: Turn | None = None
        self._told = 0

    def stop(self) -> None:
        """End after the event that is being told."""
        self._stop.set()

    def run(self) -> None:
        """Tell of whatever is due."""
        with asyncio.Runner() as runner:
            while not self._stop.is_set():
                pause = _PAUSE
                try:
                    while not self._stop.is_set() and self.step(runner):
                        pass
                except FlowcoreError as error:
                    _log.warning("callbacks wait: %s", error)
                    pause = _PAUSE_AFTER_TROUBLE
                except Exception:  # noqa: BLE001  (whatever it is, callbacks must go on)
                    _log.exception("unexpected error in the delivery of callbacks")
                    pause = _PAUSE_AFTER_TROUBLE
                self._stop.wait(pause)

    def step(self, runner: asyncio.Runner) -> bool:
        """Tell one page of one run; False when nothing was due."""
        turn = self._desk.take(lease=self._lease)
        if turn is None:
            return False
        # A run that cannot be told of keeps its turn until its lease is over.
        self._isolation.serve(turn.run, partial(self._tell, turn, runner))
        return True

    def _tell(self, turn: Turn, runner: asyncio.Runner) -> None:
        with self._lock:
            self._turn, self._told = turn, turn.after
        try:
            page = self._events.read(turn.run, after=turn.after)
            for event in page:
                if self._stop.is_set() or self._turn is None:
                    break
                tell(self._heard, [event], runner)
                self._told = event.id
        finally:
            with self._lock:
                ours, self._turn = self._turn is not None, None
        if ours:
            whole = not page or page[-1].id == self._told
            over = bool(page) and whole and page[-1].type.is_terminal
            again = _PAUSE if whole and not over else 0
            self._desk.keep(turn, self._told, again=again, over=over, patience=_PATIENCE)

    def renew(self) -> None:
        """Keep the turn while a callback takes its time."""
        while not self._stop.wait(self._lease / 4):
            with self._lock:
                try:
                    turn = self._turn
                    if turn and not self._desk.keep(turn, self._told, again=self._lease):
                        self._turn = None
                except FlowcoreError as error:
                    _log.warning("a turn of callbacks was not renewed: %s", error)
