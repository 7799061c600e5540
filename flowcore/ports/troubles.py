"""Troubles: items that a loop of the janitor could not serve.

In: a loop, an item, why. Out: what is left for later. Not here: when it is tried again (engine).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["MOST_TROUBLES", "Trouble", "TroubleBook"]

#: So many are kept, the latest: who has more has one trouble, not many.
MOST_TROUBLES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """An item that could not be served."""

    loop: str
    """Which loop: ``runs``, ``schedules``, ``agents``, ``callbacks``, ``payloads``."""
    item: str
    why: str
    count: int = 1
    """How often that was tried."""
    since: float = 0.0
    """Unix seconds."""
    last: float = 0.0


class TroubleBook(Protocol):
    """Keeps troubles, so that people see them."""

    def note(self, loop: str, item: str, why: str) -> None:
        """Note that an item could not be served; again and again is one trouble."""
        ...

    def clear(self, loop: str, item: str) -> None:
        """Forget a trouble: the item was served, or is gone."""
        ...

    def troubles(self) -> Sequence[Trouble]:
        """Return what is noted, the latest first."""
        ...
