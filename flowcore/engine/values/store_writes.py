"""RECORD: an attempt has ended; write it down and ring for what became ready.

In: a write to the store. Out: it is made, and messages are sent. And which edges of a node hold.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from flowcore.errors import RecordingError, StoreFullError, StoreUnreachableError
from flowcore.plan.plan import Plan
from flowcore.ports.dispatcher import Dispatcher
from flowcore.ports.store import Transition
from flowcore.run.record import Failure

__all__ = ["complete", "retry_write", "unrecordable"]

_T = TypeVar("_T")

_TRIES = 6


def retry_write(write: Callable[[], _T], *, patience: int = _TRIES) -> _T:
    """Make a write that is safe to repeat; a store out of reach, or full, is asked each second.

    One of several servers that hangs is not: what was written to it may arrive when it goes on, and
    if not, the lease runs out there.

    Args:
        write: A call to the store.
        patience: How often to try.

    Raises:
        StoreUnreachableError: The store stays out of reach.
        StoreFullError: It stays full.
    """
    for _ in range(patience - 1):
        try:
            return write()
        except (StoreUnreachableError, StoreFullError) as error:
            if isinstance(error, StoreUnreachableError) and not error.is_worth_waiting:
                raise
            time.sleep(1.0)
    return write()


def complete(write: Callable[[], Transition], dispatcher: Dispatcher, plan: Plan) -> Transition:
    """Make a write, and publish what the store recorded as dispatched.

    Work that is done should not be done again, so it insists. Should that be in vain, the lease
    runs out, and the nodes are run again.

    Args:
        write: A call to the run store.
        dispatcher: Rings for what became ready.
        plan: The plan of the run.

    Raises:
        StoreUnreachableError: The store stays out of reach.
        StoreFullError: It stays full.
    """
    advance = retry_write(write)
    if advance.dispatch is not None:
        dispatcher.publish(advance.dispatch, plan)
    return advance


def unrecordable(trouble: Exception, node: str, attempt: int) -> Failure:
    """Make the failure of a node whose function has ended, but whose end cannot be recorded.

    Such an attempt is not made again: it would end in the same way.

    Args:
        trouble: What the engine stumbled over.
        node: The node's id.
        attempt: The number of the attempt.
    """
    return Failure(
        type="flowcore.errors.RecordingError",
        code=RecordingError.code,
        message=(
            "the function has ended, but its end could not be recorded: "
            f"{ascii(f'{type(trouble).__name__}: {trouble}'[:500])[1:-1]}; "
            "this is a bug in flowcore, and the worker's log shows where"
        ),
        node=node,
        attempt=attempt,
    )
