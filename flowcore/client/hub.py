"""The hub: all followers of a process share a few connections.

In: what followers want to know: the next events of a run, or its end. Out: futures. Not here: what
is made of events (streaming), and how a server is asked (ports.watch).

Each wish is for one page. A follower wishes for the next one when it has dealt with the last, so a
slow one holds one page, holds up nobody, and reads on where it was. A server has two threads: one
waits for runs with news of late, and begins anew whenever somebody wishes; one waits for the many
that are quiet, and is left alone. Threads end when nobody waits.
"""

import contextlib
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flowcore.assembly.session import Session
from flowcore.errors import FlowcoreError, RunNotFoundError, StoreUnreachableError
from flowcore.forks import PerProcess
from flowcore.plan.plan import Plan
from flowcore.ports.watch import Arrived, RunWatch
from flowcore.run.event import Event

__all__ = ["Hub", "Page", "hub_of"]

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

Page = tuple[Event, ...]

#: Seconds without news after which a run is quiet.
_QUIET = 1.0

#: Seconds of one wait: so long may it take to notice that workers are gone.
_SLICE = 1.0

#: Seconds for which a server may be away before followers are told: a restart, a failover.
_PATIENCE = 20.0

#: Seconds between two looks whether a quiet run is still there, and runs of one look.
_LOOK_EVERY, _LOOK_AT = 15.0, 200

#: Seconds after which a thread without work ends.
_IDLE = 5.0

#: Seconds between two waits for each run that is waited for: with many, news come together.
_PACE, _SLOWEST = 1e-5, 0.02


@dataclass(eq=False, slots=True)
class _Wish:
    run: str
    plan: Plan | None
    """None: it is the end that is waited for."""
    after: int = 0
    future: "Future[Page]" = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)
    looked: float = field(default_factory=time.monotonic)

    def grant(self, page: Page) -> None:
        with contextlib.suppress(Exception):  # it was cancelled this very moment
            if not self.future.done():
                self.future.set_result(page)

    def refuse(self, error: BaseException) -> None:
        with contextlib.suppress(Exception):
            if not self.future.done():
                self.future.set_exception(error)


class Hub:
    """State shared by the followers of a session's runs."""

    def __init__(self, session: Session) -> None:
        """Start nothing yet."""
        self._session = weakref.ref(session)
        events = session.runtime.events
        self._lanes = [_Lane(self, at) for at in range(events.servers)]
        # Looks at runs are short, but a server that hangs must not hold up those of another.
        many = 1 if events.servers == 1 else events.servers + 1
        self._desk = ThreadPoolExecutor(many, thread_name_prefix="flowcore-look")

    @property
    def session(self) -> Session:
        """The session.

        Raises:
            StoreUnreachableError: It was closed and is gone.
        """
        session = self._session()
        if session is None:
            raise StoreUnreachableError("the session of this run is closed")
        return session

    def look(self, call: Callable[..., _T], *args: Any) -> "Future[_T]":
        """Make a short call to a server, on one of a few connections."""
        return self._desk.submit(call, *args)

    def page(self, at: int, run: str, plan: Plan, after: int) -> "Future[Page]":
        """Wish for the next events of a run; an empty page: it has ended, and there are none."""
        return self._lanes[at].add(_Wish(run, plan, after))

    def end(self, at: int, run: str) -> "Future[Page]":
        """Wish to know when a run has ended: an empty page."""
        return self._lanes[at].add(_Wish(run, None))

    def close(self) -> None:
        """End all threads."""
        for lane in self._lanes:
            lane.close()
        self._desk.shutdown(wait=False, cancel_futures=True)


class _Lane:
    """The wishes about runs of one server."""

    def __init__(self, hub: Hub, at: int) -> None:
        self._hub = hub
        self._at = at
        self._changed = threading.Condition()
        self._lively: dict[_Wish, None] = {}
        self._quiet: dict[_Wish, None] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._watch: RunWatch | None = None
        self._closed = False
        self._checked = -_SLICE
        self._progress: Future[None] | None = None

    def add(self, wish: _Wish) -> "Future[Page]":
        with self._changed:
            if self._closed:
                raise StoreUnreachableError("the session of this run is closed")
            self._lively[wish] = None
            self._start("lively", self._serve_lively)
            self._changed.notify_all()
            if self._watch is not None:
                self._watch.interrupt()
        return wish.future

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            if self._watch is not None:
                self._watch.interrupt()
            threads = list(self._threads.values())
            gone = StoreUnreachableError("the session of this run is closed")
            for wish in (*self._lively, *self._quiet):
                wish.refuse(gone)
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(timeout=2 * _SLICE)

    def _start(self, name: str, work: Callable[[RunWatch], None]) -> None:
        """Start a thread unless it is there; the lock is held."""
        if name in self._threads:
            return

        def run() -> None:
            try:
                with contextlib.closing(self._hub.session.runtime.events.watch(self._at)) as watch:
                    work(watch)
            except Exception as error:  # noqa: BLE001  (followers are told)
                _log.exception("the hub of followers ended")
                with self._changed:
                    self._threads.pop(name, None)
                    for wish in (*self._lively, *self._quiet):
                        wish.refuse(error)

        thread = threading.Thread(target=run, name=f"flowcore-follow-{name}", daemon=True)
        self._threads[name] = thread
        thread.start()

    def _serve_lively(self, watch: RunWatch) -> None:
        trouble = _Trouble()
        while True:
            with self._changed:
                self._watch = None
                self._drop_done(self._lively)
                if not self._lively:
                    self._changed.wait_for(lambda: self._lively or self._closed, timeout=_IDLE)
                if self._closed or not self._lively:
                    self._threads.pop("lively", None)
                    return
                wishes = list(self._lively)
                if self._have_quiet(wishes):
                    self._start("quiet", self._serve_quiet)
                self._watch = watch
            self._round(watch, wishes, self._lively, trouble)
            time.sleep(min(_SLOWEST, _PACE * len(wishes)) if len(wishes) > 1 else 0)

    def _serve_quiet(self, watch: RunWatch) -> None:
        trouble = _Trouble()
        while True:
            with self._changed:
                self._drop_done(self._quiet)
                now = time.monotonic()
                for wish in [one for one in self._lively if now - one.since >= _QUIET]:
                    del self._lively[wish]
                    self._quiet[wish] = None
                if self._closed or not self._quiet:
                    self._threads.pop("quiet", None)
                    return
                wishes = list(self._quiet)
            self._round(watch, wishes, self._quiet, trouble)
            self._look_after(watch, wishes, trouble)
            time.sleep(min(_SLOWEST, _PACE * len(wishes)))

    def _have_quiet(self, wishes: Iterable[_Wish]) -> bool:
        now = time.monotonic()
        return any(now - wish.since >= _QUIET for wish in wishes)

    def _drop_done(self, wishes: dict[_Wish, None]) -> None:
        for wish in [one for one in wishes if one.future.done()]:
            del wishes[wish]

    def _round(
        self,
        watch: RunWatch,
        wishes: list[_Wish],
        among: dict[_Wish, None],
        trouble: "_Trouble",
    ) -> None:
        """Wait once, and grant what came."""
        logs: dict[str, tuple[Plan, int]] = {}
        for wish in wishes:
            if wish.plan is not None:
                known = logs.get(wish.run)
                after = wish.after if known is None else min(known[1], wish.after)
                logs[wish.run] = (wish.plan, after)
        ends = list(dict.fromkeys(wish.run for wish in wishes if wish.plan is None))
        try:
            session = self._hub.session
            self._check_progress(session)
            arrived = session.persist(lambda: watch.wait(logs, ends, block=_SLICE))
        except Exception as error:  # noqa: BLE001  (whatever it is, followers are told)
            trouble.came(error, wishes)
            return
        trouble.over()
        for wish in wishes:
            _settle(wish, arrived)
        with self._changed:
            self._drop_done(among)

    def _check_progress(self, session: Session) -> None:
        """See once a second if there is anything to wait for; the answer is heard a little later.

        Like every look it is made at the desk, so that followers need no more connections.
        """
        progress, now = self._progress, time.monotonic()
        if progress is not None and progress.done():
            self._progress = None
            progress.result()
        if self._progress is None and now - self._checked >= _SLICE:
            self._checked = now
            self._progress = self._hub.look(session.check_progress)

    def _look_after(self, watch: RunWatch, wishes: list[_Wish], trouble: "_Trouble") -> None:
        """See now and then whether quiet runs are still there."""
        now = time.monotonic()
        due = [
            wish for wish in wishes if now - wish.looked >= _LOOK_EVERY and not wish.future.done()
        ]
        for wish in due[:_LOOK_AT]:
            wish.looked = now
        try:
            runs = [wish.run for wish in due[:_LOOK_AT]]
            found = self._hub.look(watch.standings, runs).result() if runs else {}
        except FlowcoreError as error:
            trouble.came(error, ())
            return
        for wish in due[:_LOOK_AT]:
            standing = found.get(wish.run)
            if standing is None:
                wish.refuse(RunNotFoundError(wish.run))
            elif standing.state.is_terminal and (wish.plan is None or wish.after >= standing.last):
                wish.grant(())
            elif wish.after > standing.last:
                wish.after = (
                    standing.last
                )  # events were lost with a server: those after them are new


class _Trouble:
    """Duration of a server's absence."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._pause = 0.05

    def came(self, error: Exception, wishes: Iterable[_Wish]) -> None:
        """Wait a little; tell the followers when it has lasted."""
        now = time.monotonic()
        self._since = self._since or now
        passing = isinstance(error, StoreUnreachableError)
        if not passing and not isinstance(error, FlowcoreError):
            _log.exception("unexpected error in the hub of followers", exc_info=error)
        if not passing or now - self._since >= _PATIENCE:
            for wish in wishes:
                wish.refuse(error)
        time.sleep(self._pause)
        self._pause = min(1.0, self._pause * 2)

    def over(self) -> None:
        """It answers."""
        self._since, self._pause = None, 0.05


def _settle(wish: _Wish, arrived: Arrived) -> None:
    if (error := arrived.failed.get(wish.run)) is not None:
        wish.refuse(error)
    elif wish.plan is None:
        if wish.run in arrived.ended:
            wish.grant(())
    elif page := tuple(one for one in arrived.events.get(wish.run, ()) if one.id > wish.after):
        wish.grant(page)


_hubs: PerProcess["weakref.WeakKeyDictionary[Session, Hub]"] = PerProcess(weakref.WeakKeyDictionary)
_making = PerProcess(threading.Lock)


def hub_of(session: Session) -> Hub:
    """Return the hub that this process's followers of a session's runs share."""
    hubs = _hubs.get()
    hub = hubs.get(session)
    if hub is None:
        with _making.get():
            hub = hubs.get(session)
            if hub is None:
                hub = hubs[session] = Hub(session)
                session.on_close(_close)
    return hub


def _close(session: Session) -> None:
    hub = _hubs.get().pop(session, None)
    if hub is not None:
        hub.close()
