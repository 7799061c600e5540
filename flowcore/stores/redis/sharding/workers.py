"""The worker board and the look at how much room there is, on several servers.

In: the servers. Out: notes of all workers; a word on a server that is getting full.
"""

from collections.abc import Sequence

from flowcore.ports.listing import Listing
from flowcore.ports.workers import WorkerInfo
from flowcore.stores.redis.connection.fanout import Fanout
from flowcore.stores.redis.sharding.runs import PATIENCE, ShardedStore, bound
from flowcore.stores.redis.workers import RedisWorkerBoard

__all__ = ["ShardedRoom", "ShardedWorkerBoard"]


class ShardedRoom:
    """Implements ``StoreCapacity``."""

    def __init__(self, store: ShardedStore, *, patience: float = PATIENCE) -> None:
        """Look at the servers of ``store``."""
        self._shards = store.shards
        self._warnings: Fanout[str | None] = Fanout(store.health, patience=patience)
        self._refusals: Fanout[str | None] = Fanout(store.health, patience=patience)

    def warning(self) -> str | None:
        """Name the servers that are getting full."""
        said = self._warnings.ask({at: shard.room.warning for at, shard in enumerate(self._shards)})
        words = [f"{self._shards[at].name}: {why}" for at, why in sorted(said.items()) if why]
        return "; ".join(words) or None

    def admit(self) -> None:
        """Let everybody in: ``submit`` knows where the run goes, and looks at that server."""

    def refusal(self) -> str | None:
        """Say so when all servers that answer refuse to write: else some runs go on."""
        said = self._refusals.ask({at: shard.room.refusal for at, shard in enumerate(self._shards)})
        words = [why for _, why in sorted(said.items())]
        return words[0] if words and all(words) else None


class ShardedWorkerBoard:
    """Implements ``WorkerRegistry``: each note hangs on every server, so that any one will do."""

    def __init__(self, store: ShardedStore, *, patience: float = PATIENCE) -> None:
        """Use the servers of ``store``."""
        self._health = store.health
        self._boards = [shard.board for shard in store.shards]
        self._writes: Fanout[None] = Fanout(store.health, patience=patience)
        self._counts: Fanout[int] = Fanout(store.health, patience=patience)
        self._reads: Fanout[Listing[WorkerInfo]] = Fanout(store.health, patience=2 * patience)
        self._offers: Fanout[frozenset[str]] = Fanout(store.health, patience=2 * patience)

    def post(self, note: WorkerInfo, *, keep: float, callables: Sequence[str] = ()) -> None:
        """Write or renew a note."""
        self._writes.ask(
            {
                at: bound(board.post, note, keep=keep, callables=callables)
                for at, board in enumerate(self._boards)
            }
        )

    def offer(self, id: str, callables: Sequence[str]) -> None:
        """Write what the worker's other processes offer, on all servers that answer."""
        self._writes.ask(
            {at: bound(board.offer, id, callables) for at, board in enumerate(self._boards)}
        )

    def remove(self, id: str) -> None:
        """Take a note down."""
        self._writes.ask({at: bound(board.remove, id) for at, board in enumerate(self._boards)})

    def count(self) -> int:
        """Return about how many notes there are."""
        counts = self._counts.ask({at: board.count for at, board in enumerate(self._boards)})
        return max(counts.values(), default=0)

    def workers(self) -> Listing[WorkerInfo]:
        """Return the fresh notes of all servers that answer, by name."""
        pages = self._reads.ask({at: board.workers for at, board in self._answering().items()})
        notes = {note.id: note for page in pages.values() for note in page}
        odd = {id: why for page in pages.values() for id, why in page.unreadable.items()}
        by_name = sorted(notes.values(), key=lambda note: (note.name, note.pid, note.id))
        return Listing(by_name, unreadable=odd)

    def callables(self) -> frozenset[str]:
        """Return what live workers offer by name, on all servers that answer."""
        asked = {at: board.callables for at, board in self._answering().items()}
        return frozenset().union(*self._offers.ask(asked).values())

    def _answering(self) -> dict[int, RedisWorkerBoard]:
        boards = dict(enumerate(self._boards))
        live = {at: board for at, board in boards.items() if not self._health.is_down(at)}
        return live or boards
