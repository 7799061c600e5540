"""Asking several servers at once, so that one that does not answer holds up no other.

In: a call for each server. Out: the answers of those that answered in time; a late one comes with
the next round. Not here: which server has what (placement).
"""

import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

from flowcore.errors import FlowcoreError, StoreUnreachableError
from flowcore.forks import renew_after_fork
from flowcore.stores.redis.connection.health import Health

__all__ = ["Fanout"]

_T = TypeVar("_T")

#: Seconds after which a thread that nobody needs ends.
_IDLE = 30.0


class _Lane(Generic[_T]):
    """One thread for the calls to one server: a connection belongs to a thread."""

    def __init__(self) -> None:
        self._todo: queue.SimpleQueue[tuple[Future[_T], Callable[[], _T]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self.pending: Future[_T] | None = None

    def start(self, call: Callable[[], _T], name: str) -> None:
        future: Future[_T] = Future()
        self.pending = future
        with self._lock:
            self._todo.put((future, call))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name=f"flowcore-{name}", daemon=True
                )
                self._thread.start()

    def forget_failure(self) -> None:
        """Forget a call that has failed since the last round: nobody knows how long ago."""
        if self.pending is not None and self.pending.done() and self.pending.exception():
            self.pending = None

    def _work(self) -> None:
        while True:
            try:
                future, call = self._todo.get(timeout=_IDLE)
            except queue.Empty:
                with self._lock:
                    if self._todo.empty():
                        self._thread = None
                        return
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001  (it is raised where it is waited for)
                future.set_exception(error)


class Fanout(Generic[_T]):
    """Calls of one kind, to all servers; used by one thread at a time, others wait."""

    def __init__(self, health: Health, *, patience: float) -> None:
        """Start nothing yet.

        Args:
            health: The servers.
            patience: Seconds that a round waits for answers.
        """
        self._health = health
        self._patience = patience
        self._renew()
        renew_after_fork(self, Fanout._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._lanes: list[_Lane[_T]] = [_Lane() for _ in self._health.names]

    def ask(self, calls: Mapping[int, Callable[[], _T]]) -> dict[int, _T]:
        """Make these calls; a server that is still at the last one is left alone.

        Returns:
            The answers by server, those of earlier calls that came late among them.

        Raises:
            FlowcoreError: No server answered, or all refused.
        """
        with self._lock:
            for lane in self._lanes:
                lane.forget_failure()
            free = [at for at in calls if self._lanes[at].pending is None]
            for at in free:
                self._lanes[at].start(calls[at], self._health.names[at])
            pending = {at: lane.pending for at, lane in enumerate(self._lanes) if lane.pending}
            # Who was waited for once is not waited for again, if there are others.
            wait([pending[at] for at in free or pending], timeout=self._patience)
            return self._collect(pending)

    def _collect(self, pending: Mapping[int, "Future[_T]"]) -> dict[int, _T]:
        answers: dict[int, _T] = {}
        errors: list[FlowcoreError] = []
        for at, future in pending.items():
            if not future.done():
                self._health.failed(at, f"no answer within {self._patience:g} s")
                continue
            self._lanes[at].pending = None
            try:
                answers[at] = future.result()
            except FlowcoreError as error:
                self._health.failed(at, error)
                errors.append(error)
            else:
                self._health.answered(at)
        if pending and not answers:
            silent = StoreUnreachableError(f"no answer from Redis within {self._patience:g} s")
            raise errors[0] if errors else silent
        return answers
