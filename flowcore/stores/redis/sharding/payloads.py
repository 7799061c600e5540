"""Payloads and their ledger on several servers: a run's are where the run is.

In: spaces, runs. Out: the answers of the server that has the run. Not here: which
(redis.connection.placement).

Whether a run is gone is a question only its own server can answer: a ledger elsewhere would take
its payloads for left over.
"""

from collections.abc import Sequence

from flowcore.errors import StoreUnreachableError
from flowcore.ports.payloads import PayloadLedger, PayloadStore
from flowcore.run.reference import Reference
from flowcore.stores.redis.sharding.runs import ShardedStore

__all__ = ["ShardedLedger", "ShardedPayloads"]


class ShardedLedger:
    """Implements ``PayloadLedger``."""

    def __init__(self, ledgers: Sequence[PayloadLedger], store: ShardedStore) -> None:
        """Use a ledger for each server of ``store``."""
        self._ledgers = ledgers
        self._health = store.health
        self._placement = store.placement
        self._due: dict[str, int] = {}

    def place_of(self, space: str) -> int:
        """Return the server that a space is on."""
        known = self._due.get(space)
        return self._placement.locate(space.rpartition(".")[0]) if known is None else known

    def enter(self, run: str) -> str:
        """Note a run's space; one that does not exist yet will be created at its home."""
        return self._ledgers[self._placement.locate(run)].enter(run)

    def orphans(self, *, limit: int = 100) -> Sequence[str] | None:
        """Look at spaces that are due on every server that answers."""
        found: list[str] = []
        looked = False
        for at, ledger in enumerate(self._ledgers):
            if self._health.is_down(at):
                continue
            try:
                spaces = ledger.orphans(limit=limit)
            except StoreUnreachableError as error:
                self._health.failed(at, error)
                continue
            if spaces is not None:
                looked = True
                # By its run it could no longer be found.
                self._due.update(dict.fromkeys(spaces, at))
                found += spaces
        return found if looked else None

    def forget(self, space: str) -> None:
        """Strike out a space."""
        self._ledgers[self.place_of(space)].forget(space)
        self._due.pop(space, None)


class ShardedPayloads:
    """Implements ``PayloadStore`` beside the runs."""

    place = "redis"

    def __init__(self, stores: Sequence[PayloadStore], ledger: ShardedLedger) -> None:
        """Use a store for each server that ``ledger`` knows."""
        self._stores = stores
        self._ledger = ledger

    def put(self, reference: Reference, payload: bytes) -> None:
        """Keep a payload where its run is."""
        self._at(reference.space).put(reference, payload)

    def get(self, reference: Reference) -> bytes | None:
        """Return a payload."""
        return self._at(reference.space).get(reference)

    def remove(self, space: str) -> None:
        """Remove a space."""
        self._at(space).remove(space)

    def _at(self, space: str) -> PayloadStore:
        return self._stores[self._ledger.place_of(space)]
