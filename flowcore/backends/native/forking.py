"""Locks in the children of a process pool.

In: nothing. Out: children that inherit no lock that a thread of their parent held.

A worker's parent has threads of ours, which publish; a child that is forked while one of them
makes a connection inherits the locks that it holds, and would wait for them for ever. The locks
are those of ``cached_property``: one for each property of a class, held while its value is worked
out, as that of a channel's client is. (Python has had none since 3.12, but kombu brings its own.)
Others are made anew by those who have them: logging, redis-py's pools, Celery's pools, ``Bridge``.
"""

import os
import sys
import threading
from collections.abc import Iterator
from functools import cache, cached_property
from typing import Any

__all__ = ["free_locks_in_children"]

_PACKAGES = frozenset({"amqp", "billiard", "celery", "flowcore", "kombu", "redis", "vine"})


@cache
def free_locks_in_children() -> None:
    """Have each child that is forked from now on begin with free locks; called before any is."""
    properties = list(_with_locks())

    def renew() -> None:
        for each in properties:
            each.lock = threading.RLock()

    os.register_at_fork(after_in_child=renew)


def _with_locks() -> Iterator[Any]:
    """Find the properties of all classes that are loaded, each once."""
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
