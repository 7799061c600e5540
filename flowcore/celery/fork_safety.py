"""Cleanup of inherited locks and signal handlers in the children of a worker's process.

In: nothing. Out: children that inherit no lock that a thread of their parent held, and no handler
of signals that are meant for a worker.

A worker's parent has threads of ours, which publish; a child that is forked while one of them
makes a connection inherits the locks that it holds, and would wait for them for ever. The locks
are those of ``cached_property``: one for each property of a class, held while its value is worked
out, as that of a channel's client is. (Python has had none since 3.12, but kombu brings its own.)
Others are made anew by those who have them: logging, Celery's pools, and ours (``flowcore.forks``).

A node may start processes of its own, such as a ``multiprocessing.Pool``, which ends them by
SIGTERM. With the handler of a worker they would take that for its warm shutdown, and go on. In the
threads pool they are forked by a thread of an executor, which Python has its processes join when
they end: one is what they are themselves, so that fails, and they would end with 1.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import thread as executors
from functools import cache, cached_property
from multiprocessing import process
from typing import Any

from flowcore.forks import renew_after_fork

__all__ = ["be_a_process_of_python", "free_locks_in_forks", "prepare_forks_of_workers"]

_PACKAGES = frozenset({"amqp", "billiard", "celery", "flowcore", "kombu", "redis", "vine"})


#: Python forgets the name of this class.
_KIND_OF_MAIN = type(process.current_process())

#: Signals by which workers are told something.
_OF_WORKERS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1)


@cache
def free_locks_in_forks() -> None:
    """Have each child of this process, a worker or not, begin with free locks."""
    renew_after_fork(free_locks_in_forks, lambda _: _free())


@cache
def find_locks() -> tuple[Any, ...]:
    """Find the properties of all classes that are loaded, each once.

    That takes some hundredths of a second: a worker, which forks often, does it beforehand.
    """
    return tuple(_with_locks())


def _free() -> None:
    for each in find_locks():
        each.lock = threading.RLock()


@cache
def prepare_forks_of_workers() -> None:
    """Have each child of a worker begin afresh; called before any is forked."""
    find_locks()
    before = threading.local()

    def hold_back() -> None:
        # A signal that comes before its handler is reset would be taken by that, and be lost.
        before.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_WORKERS)

    def let_come() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before.mask)

    def renew() -> None:
        for signum in _OF_WORKERS:
            if callable(signal.getsignal(signum)):
                signal.signal(signum, signal.SIG_DFL)
        _leave_executors()
        let_come()

    os.register_at_fork(before=hold_back, after_in_parent=let_come, after_in_child=renew)


def be_a_process_of_python() -> None:
    """Let the child of a pool be to Python's own multiprocessing what a main process is.

    Celery's pool says there that it is a daemon, which may have no children, and has a key that may
    not be given to any. Its end does not depend on either: the pool ends it, or the kernel when its
    parent dies.
    """
    known: Any = process
    name = known.current_process().name
    known._current_process = _KIND_OF_MAIN()  # noqa: SLF001  (as Celery's pool does itself)
    known.current_process().name = name


def _leave_executors() -> None:
    """Forget the threads of the parent's executors: none of them is in the child."""
    queues: Any = getattr(executors, "_threads_queues", None)
    if queues is not None:
        queues.clear()


def _with_locks() -> Iterator[Any]:
    seen: set[int] = set()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] not in _PACKAGES:
            continue
        for kind in list(vars(module).values()):
            if not isinstance(kind, type) or id(kind) in seen:
                continue
            seen.add(id(kind))
            for each in vars(kind).values():
                if isinstance(each, cached_property) and hasattr(each, "lock"):
                    yield each
