"""Payloads: values too large for a run's record, and which of them still belong to a run.

In: bytes. Out: bytes. Not here: which values are large, and what a lost one means (engine).

Payloads of a run lie together in a **space**, named ``{run}.{token}``. The token is drawn when a
run gets its first payload and given up in the step that finds the run gone. So a space is removed
whole, by anybody, any number of times; a run that takes an old id again gets another space; and
two servers may share one place without harm.
"""

from collections.abc import Sequence
from typing import Protocol

from flowcore.run.reference import Reference

__all__ = ["PayloadLedger", "PayloadStore"]


class PayloadStore(Protocol):
    """Keeps payloads under their digest within a space.

    A payload is either there whole or not at all as far as the store can see to it; readers check
    the digest. Implementations raise ``PayloadStoreError`` and nothing vendor's own. Every method
    is safe to repeat.
    """

    @property
    def place(self) -> str:
        """Name the store for people, without secrets: ``file:///data``, ``redis``."""
        ...

    def put(self, reference: Reference, payload: bytes) -> None:
        """Keep a payload; it is durable as far as the store promises when this returns."""
        ...

    def get(self, reference: Reference) -> bytes | None:
        """Return a payload, None when it is not there."""
        ...

    def remove(self, space: str) -> None:
        """Remove all payloads of a space; one that has none is no error."""
        ...


class PayloadLedger(Protocol):
    """Remembers spaces, and says which have outlived their run."""

    def enter(self, run: str) -> str:
        """Return the run's space, noted down before anything is put there.

        The run may not exist yet, since its input is put before it is created: its space is then
        left alone for a day.
        """
        ...

    def orphans(self, *, limit: int = 100) -> Sequence[str] | None:
        """Return spaces whose run is gone, to be removed; None when no more are due now.

        A space that is not forgotten is returned again some minutes later.
        """
        ...

    def forget(self, space: str) -> None:
        """Strike out a space that has been removed."""
        ...
