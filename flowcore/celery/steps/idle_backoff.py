"""Looking less often while nothing goes on, and at once when something does.

In: how many messages a worker has received. Out: when to look. Not here: what is looked at
(engine.background.janitor).

An idle worker asks its Redis for work that is due. It has heard of any work that is its own by a
message, which costs nothing to notice: so it looks once a second, and often as soon as it has
received something.
"""

import time
from collections.abc import Callable

__all__ = ["Activity"]

#: Seconds between two looks at the count of messages.
_NOTICE = 0.2

#: Seconds after a message for which a worker counts as busy.
_LATELY = 10.0


class Activity:
    """Says whether a worker is busy, and calls what it does when that is due."""

    def __init__(
        self, received: Callable[[], int], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Count nothing yet.

        Args:
            received: Messages that the worker has received so far.
            clock: Seconds.
        """
        self._received = received
        self._clock = clock
        self._count = -1
        self._since = clock()
        self._due = clock()

    def is_busy(self) -> bool:
        """Return whether the worker has received something lately."""
        self._notice()
        return self._clock() - self._since < _LATELY

    def call(self, step: Callable[[], float]) -> float:
        """Call a step if it is due, or if the worker has received something since.

        Args:
            step: Returns the seconds until it is due again.

        Returns:
            The seconds until it is to be asked again.
        """
        if self._notice() or self._clock() >= self._due:
            pause = step()
            self._due = self._clock() + pause
        return max(0.0, min(self._due - self._clock(), _NOTICE))

    def _notice(self) -> bool:
        count = self._received()
        if count == self._count:
            return False
        self._count, self._since = count, self._clock()
        return True
