"""Serving items one by one, so that one that fails holds up no other.

In: items and what to do with each. Out: all of them looked at; those that failed are noted, logged
and left alone for a while. Not here: which items there are.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from flowcore.errors import (
    BrokerUnreachableError,
    FlowcoreError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
)
from flowcore.ports.troubles import TroubleBook

__all__ = ["Deadline", "Isolation", "sentence_of"]

_log = logging.getLogger(__name__)

#: Seconds for which an item that failed is left alone: twice as long each time.
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 300.0

#: Items that are remembered; of more than these, the longest known are tried again at once.
_REMEMBERED = 10_000

_MOST_WORDS = 500

_PASSING = (StoreUnreachableError, StoreFullError, StoreRefusedError, BrokerUnreachableError)


@dataclass(slots=True)
class Deadline:
    """Time limit of one look."""

    seconds: float
    clock: Callable[[], float] = time.monotonic
    began: float | None = None

    def is_over(self) -> bool:
        """Say whether the time is over; it begins with the first question, which is never late."""
        if self.began is None:
            self.began = self.clock()
        return self.clock() - self.began > self.seconds


@dataclass(slots=True)
class _Held:
    version: object
    failures: int
    until: float


class Isolation:
    """The items of one loop; one thread of a process uses it."""

    def __init__(
        self,
        loop: str,
        troubles: TroubleBook | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remember nothing yet; what fails is noted in ``troubles``."""
        self._loop = loop
        self._troubles = troubles
        self._clock = clock
        self._held: dict[str, _Held] = {}

    @property
    def held(self) -> int:
        """Number of items that failed the last time."""
        return len(self._held)

    def serve(self, item: str, call: Callable[[], object], *, version: object = None) -> bool:
        """Do something with an item, unless it failed a moment ago; say whether that was done.

        Args:
            item: Its name.
            call: What to do. Whatever it raises is noted and not raised.
            version: Of an item that has changed since it failed the failure does not count.
        """
        known = self._held.get(item)
        if known is not None and known.version == version and self._clock() < known.until:
            return False
        try:
            call()
        except Exception as error:  # noqa: BLE001  (whatever it is, the others have their turn)
            self._failed(item, version, error)
            return False
        if known is not None:
            del self._held[item]
            if self._troubles is not None:
                with suppress(FlowcoreError):
                    self._troubles.clear(self._loop, item)
        return True

    def _failed(self, item: str, version: object, error: Exception) -> None:
        known = self._held.pop(item, None)
        before = known.failures if known is not None and known.version == version else 0
        # A service that is away is no trouble of the item's: it is as good as new afterwards.
        is_its_own = not isinstance(error, _PASSING)
        failures = before + 1 if is_its_own else max(before, 1)
        pause = min(_FIRST_PAUSE * 2 ** min(failures - 1, 10), _LONGEST_PAUSE)
        while len(self._held) >= _REMEMBERED:
            del self._held[next(iter(self._held))]
        self._held[item] = _Held(version, failures, self._clock() + pause)
        why = sentence_of(error)
        _log.warning(
            "%s: %s failed and is left alone for %.0f s: %s",
            *(self._loop, item, pause, why),
            # The first time only: the same again tells nobody anything.
            exc_info=None if failures > 1 or isinstance(error, FlowcoreError) else error,
        )
        if self._troubles is not None and is_its_own:
            with suppress(FlowcoreError):
                self._troubles.note(self._loop, item, why)


def sentence_of(error: Exception) -> str:
    """Say in a line what went wrong."""
    text = " ".join(str(error).split())[:_MOST_WORDS]
    if isinstance(error, FlowcoreError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
