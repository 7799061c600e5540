"""Capacity of the store: the warning before it is full, and the refusal when it is.

In: nothing. Out: a warning, a refusal. Not here: how it is measured (stores).
"""

from typing import Protocol

__all__ = ["StoreCapacity"]


class StoreCapacity(Protocol):
    """Looks at the store now and then; cheap to ask before each run and in each wait."""

    def warning(self) -> str | None:
        """Say so when the store is getting full."""
        ...

    def admit(self) -> None:
        """Let a new run in.

        Raises:
            StoreFullError: There is too little room for one more.
        """
        ...

    def refusal(self) -> str | None:
        """Say so when the store has been refusing to write for some seconds."""
        ...
