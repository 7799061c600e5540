"""Noticing the end of a pool's child while it is fresh (a bootstep).

In: the worker's event loop. Out: its pool looks after its children several times a second.

Celery's prefork pool watches a pipe that the kernel closes when a child ends, but looks at the
child itself only once, at that moment. The kernel closes a process's files before it can be waited
for, so the look often comes too early, and the next one is a timer of five seconds: a node that
ends its process would be missed for that long, each time.
"""

from typing import Any

from celery import bootsteps

__all__ = ["ChildWatch"]

#: Seconds between two looks: one ``waitpid`` for each child.
_EVERY = 0.25


class ChildWatch(bootsteps.StartStopStep):
    """Lets a process pool look after its children more often than Celery does."""

    requires = ("celery.worker.components:Pool",)

    def register_with_event_loop(self, worker: Any, hub: Any) -> None:
        """Celery calls this each time its loop starts; its timers end with the loop."""
        # Threads have no children; nor has a pool whose kind we do not know.
        look = getattr(getattr(worker.pool, "_pool", None), "maintain_pool", None)
        if look is not None:
            hub.call_repeatedly(_EVERY, look)
