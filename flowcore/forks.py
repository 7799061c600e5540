"""State of a process that a fork copies, renewed in the child: the one place where that is done.

In: objects with state that belongs to one process: threads, locks, connections. Out: in a forked
child (os.fork, multiprocessing, the pools of Celery and gunicorn) each of them is made anew before
anything else runs.

A fork copies memory and one thread. What other threads of the parent held or were about to do is
copied half-way: a lock stays locked, a pool counts threads that are not there, and a connection
shared with the parent would give the one the other's answers. Whatever has such state says here
how it begins anew. Ids of processes that say who owns something outside (a server, a file) are no
such state: a child shall not own what its parent does.
"""

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

__all__ = ["PerProcess", "leave_to_parent", "renew_after_fork"]

_T = TypeVar("_T")
_O = TypeVar("_O")

_renewals: dict[int, tuple["weakref.ref[Any]", Callable[[Any], object]]] = {}
_lock = threading.Lock()
_of_parents: list[object] = []


def renew_after_fork(owner: _O, renew: Callable[[_O], object]) -> None:
    """Have ``renew(owner)`` called in each forked child, as long as there is the owner.

    Args:
        owner: What has the state; it is not kept alive.
        renew: Makes the state anew. It runs in the child's only thread, must not wait for
            anything, and must not hold the owner itself (take the argument).
    """
    key = id(owner)
    with _lock:
        _renewals[key] = (weakref.ref(owner, lambda _: _renewals.pop(key, None)), renew)


def leave_to_parent(*things: object) -> None:
    """Keep what is the parent's alive in a child: its end would be the end of the parent's, too."""
    _of_parents.extend(things)


def _renew_all() -> None:
    global _lock  # noqa: PLW0603  (a fork may copy a locked one)
    _lock = threading.Lock()
    for reference, renew in list(_renewals.values()):
        if (owner := reference()) is not None:
            renew(owner)


os.register_at_fork(after_in_child=_renew_all)


class PerProcess(Generic[_T]):
    """Something that each process makes for itself when it first needs it."""

    def __init__(self, make: Callable[[], _T]) -> None:
        """Make nothing yet."""
        self._make = make
        self._renew()
        renew_after_fork(self, PerProcess._renew)

    def get(self) -> _T:
        """Return this process's own, made by one of its threads."""
        if not self._made:
            with self._lock:
                if not self._made:
                    self._made.append(self._make())
        return self._made[0]

    def peek(self) -> _T | None:
        """Return it if it has been made."""
        return self._made[0] if self._made else None

    def forget(self) -> None:
        """Have the next one made anew."""
        self._made.clear()

    def _renew(self) -> None:
        self._lock = threading.RLock()
        self._made: list[_T] = []
