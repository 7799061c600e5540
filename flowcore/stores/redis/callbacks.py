"""Turns of callbacks on Redis; see lua/callbacks.

In: who has time. Out: turns. ``fc:callbacks:NS`` (sorted set) says when which run is due,
``fc:callbacks-high:NS`` how far the index was read, ``fc:{run}:cb`` (hash) cursor and token.
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib import resources

from flowcore.errors import StoreUnreachableError
from flowcore.ports.callbacks import Turn
from flowcore.stores.redis.connection.connect import Client, translated
from flowcore.stores.redis.connection.health import Health
from flowcore.stores.redis.connection.script import Script, ScriptConnection, script_text

__all__ = ["RedisCallbackDesk", "ShardedCallbackDesk"]


class RedisCallbackDesk:
    """Implements ``CallbackQueue`` on one server."""

    def __init__(self, client: Client, *, namespace: str = "") -> None:
        """Give turns of this namespace's runs only; nothing is sent yet."""
        line, folder = (
            ScriptConnection(client),
            resources.files("flowcore.stores.redis") / "lua" / "callbacks",
        )
        self._namespace = namespace
        self._take = Script(line, script_text("trouble", "callbacks/take"))
        self._keep = Script(line, (folder / "keep.lua").read_text())

    def take(self, *, lease: float) -> Turn | None:
        """Return a run that nobody tells of now."""
        with translated():
            got = self._take(args=(self._namespace, _ms(lease)))
        return got and Turn(run=got[0].decode(), after=got[1], token=got[2])

    def keep(
        self, turn: Turn, after: int, *, again: float, over: bool = False, patience: float = 0.0
    ) -> bool:
        """Note how far it was told."""
        about = (turn.run, turn.token, after, _ms(again), int(over), _ms(patience))
        with translated():
            return bool(self._keep(args=(self._namespace, *about)))


class ShardedCallbackDesk:
    """Implements ``CallbackQueue`` on several servers, each asked first in its turn."""

    def __init__(self, desks: Sequence[RedisCallbackDesk], health: Health | None = None) -> None:
        """Give turns of the runs on all of them; one that hangs is left out for a while."""
        self._desks = desks
        self._health = health or Health([str(at) for at in range(len(desks))])
        self._next = 0

    def take(self, *, lease: float) -> Turn | None:
        """Return a run of any server that answers."""
        for _ in self._desks:
            at = self._next
            self._next = (at + 1) % len(self._desks)
            if self._health.is_down(at):
                continue
            try:
                turn = self._desks[at].take(lease=lease)
            except StoreUnreachableError as error:
                self._health.failed(at, error)
                continue  # runs on the others go on
            if turn is not None:
                return replace(turn, server=at)
        return None

    def keep(
        self, turn: Turn, after: int, *, again: float, over: bool = False, patience: float = 0.0
    ) -> bool:
        """Note how far it was told, where the run is."""
        desk = self._desks[turn.server]
        return desk.keep(turn, after, again=again, over=over, patience=patience)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
