"""Which of Celery's pools run nodes.

In: the class of a worker's pool. Out: a worker that does not start in a pool that runs none.

Greenlets take turns in one thread, in which nobody can raise an exception into one of them: a node
that is timed out or cancelled would go on, or another one would end in its place. Under gevent a
worker of ours does not even get as far as to be ready.
"""

__all__ = ["refuse_greenlets"]

_GREENLETS = {"celery.concurrency.gevent": "gevent", "celery.concurrency.eventlet": "eventlet"}


def refuse_greenlets(pool: type) -> None:
    """Refuse to work in a pool of greenlets.

    Raises:
        SystemExit: It is one; the sentence says what to use.
    """
    for kind in pool.__mro__:
        if name := _GREENLETS.get(kind.__module__):
            raise SystemExit(
                f"flowcore's workers do not run in the pool {name!r}: nodes in greenlets can "
                "neither be timed out nor cancelled; use --pool prefork, threads or solo"
            )
