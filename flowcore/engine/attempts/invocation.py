"""Calling a node's function: sync or async, with a time limit, and able to be stopped.

In: a function and its arguments. Out: its value or its error. Not here: what is done with them.

A sync function runs in the calling thread, where an exception is injected when its time is up:
by a signal in the main thread (which also wakes ``sleep`` and system calls), by the interpreter's
asynchronous exception in others (which takes effect at the next bytecode). An async function runs
on one event loop per process.
"""

import asyncio
import concurrent.futures
import ctypes
import heapq
import inspect
import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from flowcore.engine.attempts.event_loop import NodeLoop
from flowcore.engine.attempts.work_table import WorkRecord
from flowcore.errors import NodeCancelledError, NodeExitError, NodeTimeoutError
from flowcore.forks import renew_after_fork
from flowcore.nodes.signature import remembered
from flowcore.types import format_duration

__all__ = ["CancelHandle", "Invoker", "timed_out"]

_WAKE = signal.SIGUSR2
_PRUNE = 1024

#: What would end the event loop, and all that runs on it, instead of the node.
_EXITS = (SystemExit, KeyboardInterrupt)

#: Looked up first: to ask whether something can be awaited costs more than a short call.
_NO_AWAITABLES = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict})

_BY_SIGNAL = frozenset(number - 256 for number in range(1, 65))

#: Seconds for which the end of a thread is waited for.
_PATIENCE = 2.0

#: Seconds after which a call that ignores its interruption is given up.
STUCK_AFTER = 1.0

#: When, tie-break, what to stop, with what, and whether it was forced already.
_Alarm: TypeAlias = tuple[float, int, "CancelHandle", BaseException, bool]


@dataclass(slots=True, kw_only=True, eq=False)
class CancelHandle:
    """Stops one call that is under way, from any thread, at most once."""

    stopping: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None
    on_stuck: Callable[[BaseException], object] | None = None
    """Called when the call has not ended some time after it was forced to."""
    done: bool = False
    stuck: bool = False
    """Whether it was given up."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: int | None = None
    _task: "asyncio.Task[Any] | None" = None
    _loop: asyncio.AbstractEventLoop | None = None
    _early: BaseException | None = None
    """What was to stop a call that had not begun yet: it is raised as soon as it has."""

    def ask(self) -> None:
        """Ask politely: ``ctx.cancelled`` becomes true, an async function is cancelled."""
        self.stopping.set()
        with self._lock:
            task, loop = self._task, self._loop
            if task is not None and self.error is None:
                self.error = NodeCancelledError("the run was stopped")
        if task is not None and loop is not None:
            loop.call_soon_threadsafe(task.cancel)

    def force(self, error: BaseException) -> None:
        """Make the call raise ``error`` at the next chance."""
        self.stopping.set()
        with self._lock:
            if self._task is not None and self._loop is not None:
                self.error = error
                self._loop.call_soon_threadsafe(self._task.cancel)
            elif self._thread is not None and self.error is None:
                self.error = error
                _interrupt(self._thread, type(error))
            elif self.error is None and not self.done:
                self._early = error

    def give_up(self, error: BaseException) -> None:
        """The call was forced and still has not ended: let somebody go on without it, once."""
        if not self.done and not self.stuck:
            self.stuck = True
            if self.on_stuck is not None:
                self.on_stuck(error)

    def enter_thread(self) -> None:
        """From here on, the call runs in this thread."""
        with self._lock:
            early, self._early = self._early, None
            if early is None:
                self._thread = threading.get_ident()
                return
            self.error = early
        raise early

    def leave_thread(self) -> None:
        """From here on, the call can no longer be interrupted."""
        with self._lock:
            ident, self._thread = self._thread, None
            if self.error is not None and ident is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), None)

    def enter_task(self, task: "asyncio.Task[Any]", loop: asyncio.AbstractEventLoop) -> None:
        """From here on, the call is this task."""
        with self._lock:
            self._task, self._loop = task, loop
            early, self._early = self._early, None
            if early is not None:
                self.error = early
                task.cancel()

    def leave_task(self) -> None:
        """From here on, there is no task to cancel."""
        with self._lock:
            self._task = self._loop = None


def _interrupt(ident: int, kind: type[BaseException]) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(kind))
    # The asynchronous exception alone would wait for a blocking call to return. Without a handler,
    # which the program may have taken away, the signal would end the process.
    if ident == threading.main_thread().ident and callable(signal.getsignal(_WAKE)):
        signal.pthread_kill(ident, _WAKE)


def _woken(_signum: int, _frame: object) -> None:
    """Nothing to do: the interrupted system call returns to the interpreter, which raises."""


class Invoker:
    """Calls functions in this process; begins anew in a forked child."""

    def __init__(self, record: WorkRecord | None = None) -> None:
        """Start nothing yet; ``record`` is what the parent of this process watches, if it does."""
        self._record = record
        self._limit: float | None = None
        """Of the attempt that is made, in the child of a pool: one at a time."""
        self._renew()
        renew_after_fork(self, Invoker._renew)

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._loop = NodeLoop()
        self._alarms: list[_Alarm] = []
        self._order = itertools.count()
        self._changed = threading.Condition(self._lock)
        self._clock: threading.Thread | None = None
        self._closed = False
        self._prune_at = _PRUNE
        self._listens = False
        """True once this process has the handler that wakes its main thread."""

    def close(self) -> None:
        """End its threads; another call starts new ones."""
        self._loop.close()
        with self._changed:
            clock, self._closed = self._clock, True
            self._changed.notify_all()
        if clock is not None:
            clock.join(_PATIENCE)
        self._renew()

    def call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        stopper: CancelHandle,
        timeout: float | None = None,
    ) -> Any:
        """Call and wait.

        Args:
            function: Sync or async.
            args: Positional arguments.
            kwargs: Keyword arguments.
            stopper: The handle by which others stop the call; good for one call after another.
            timeout: Seconds; None: no limit.

        Raises:
            NodeTimeoutError: The time was up.
            NodeCancelledError: The stopper stopped it.
            BaseException: Whatever the function raised.
        """
        if timeout is None:
            return self._call(function, args, kwargs, stopper)
        self._set_alarm(timeout, stopper)
        try:
            return self._call(function, args, kwargs, stopper)
        finally:
            stopper.done = True
            self._arm(timeout)

    def _arm(self, timeout: float | None) -> None:
        if self._record is not None:
            self._record.arm(timeout, busy=True)

    @contextmanager
    def limited(self, timeout: float | None) -> Iterator[None]:
        """Hold a whole attempt to its time limit: all that is no call, before and after each.

        The parent of this process sees to that. Expressions, bindings, checks of outputs and the
        words of errors may all be as slow as a function.
        """
        if timeout is None or self._record is None:
            yield
            return
        self._limit = timeout
        self._arm(timeout)
        try:
            yield
        finally:
            self._limit = None
            self._arm(None)

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """Let the time of the block count for nothing: modules are imported in it."""
        if self._limit is None:
            yield
            return
        self._arm(None)
        try:
            yield
        finally:
            self._arm(self._limit)

    def _call(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        stopper: CancelHandle,
    ) -> Any:
        try:
            if _is_async(function):
                return self._call_async(function, args, kwargs, stopper)
            return self._call_sync(function, args, kwargs, stopper)
        except Exception:
            raise
        except BaseException as error:
            # Let through, it would end the pool's child or its thread instead of the node.
            if _is_from_signal(error):
                raise
            raise _exited(error) from error

    def _call_sync(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        stopper: CancelHandle,
    ) -> Any:
        if not self._listens and threading.current_thread() is threading.main_thread():
            _listen()
            self._listens = True
        try:
            stopper.enter_thread()
            try:
                value = function(*args, **kwargs)
            finally:
                stopper.leave_thread()
        except (NodeTimeoutError, NodeCancelledError):
            if stopper.error is not None:
                raise stopper.error from None
            raise
        if type(value) not in _NO_AWAITABLES and inspect.isawaitable(value):
            return self._call_async(_awaiting, (value,), {}, stopper)
        return value

    def _call_async(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        stopper: CancelHandle,
    ) -> Any:
        loop = self._loop.get()

        async def guarded() -> Any:
            task = asyncio.current_task()
            if task is not None:
                stopper.enter_task(task, loop)
            try:
                return await function(*args, **kwargs)
            except _EXITS as error:
                raise _exited(error) from error
            finally:
                stopper.leave_task()

        future = asyncio.run_coroutine_threadsafe(guarded(), loop)
        try:
            return future.result()
        except (concurrent.futures.CancelledError, TimeoutError):
            if stopper.error is not None:
                raise stopper.error from None
            raise

    def _set_alarm(self, timeout: float, stopper: CancelHandle) -> None:
        error = timed_out(timeout)
        if self._record is not None:
            self._record.arm(timeout)
        with self._changed:
            if self._clock is None:
                self._clock = threading.Thread(
                    target=self._watch, name="flowcore-timeouts", daemon=True
                )
                self._clock.start()
            if len(self._alarms) >= self._prune_at:
                self._alarms = [alarm for alarm in self._alarms if not alarm[2].done]
                heapq.heapify(self._alarms)
                self._prune_at = max(_PRUNE, 2 * len(self._alarms))
            due = time.monotonic() + timeout
            heapq.heappush(self._alarms, (due, next(self._order), stopper, error, False))
            self._changed.notify()

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._alarms and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                ahead = self._alarms[0][0] - time.monotonic()
                if ahead > 0:
                    self._changed.wait(ahead)
                    continue
                due, order, stopper, error, forced = heapq.heappop(self._alarms)
                if not forced:
                    alarm = (due + STUCK_AFTER, order, stopper, error, True)
                    heapq.heappush(self._alarms, alarm)
            if stopper.done:
                continue
            if forced:
                stopper.give_up(error)
            else:
                stopper.force(error)


def timed_out(timeout: float) -> NodeTimeoutError:
    """Say that a node has taken longer than it may."""
    return NodeTimeoutError(f"timed out after {format_duration(timeout)}")


@remembered
def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004  (asks for the coroutine flag)
    )


def _is_from_signal(error: BaseException) -> bool:
    """Say whether a process pool is ending this process, while the function happens to run.

    A child that is told to end by a signal leaves with 256 less than the signal's number, as
    billiard has it: the attempt is lost with its process, and that is no failure of the node.
    """
    return isinstance(error, SystemExit) and error.code in _BY_SIGNAL


def _exited(error: BaseException) -> NodeExitError:
    how = (
        f"called sys.exit({error.code!r})"
        if isinstance(error, SystemExit)
        else f"raised {type(error).__qualname__}, which is not an Exception"
    )
    trouble = NodeExitError(f"the function tried to end its worker: it {how}")
    # With the function's own frames, which say where.
    return trouble.with_traceback(error.__traceback__)


async def _awaiting(value: Any) -> Any:
    return await value


def _listen() -> None:
    """Install the wake-up handler in the main thread, unless the program has its own."""
    if signal.getsignal(_WAKE) in {signal.SIG_DFL, None}:
        signal.signal(_WAKE, _woken)
