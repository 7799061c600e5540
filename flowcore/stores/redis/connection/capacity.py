"""Capacity of a Redis, asked seldom enough to cost nothing.

In: a client. Out: a warning at 70 % of maxmemory, a refusal of new runs at 85 %, and word of a
server that refuses to write.

A server at its maxmemory (noeviction) refuses what would record the end of a node, and Celery's
own bookkeeping with it. The runs it has need the rest of its memory to come to an end.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoPermissionError, RedisError

from flowcore.errors import StoreFullError
from flowcore.forks import renew_after_fork
from flowcore.stores.redis.connection.connect import (
    MAKE_ROOM,
    Client,
    is_full,
    ping,
    refusal_of,
    translated,
)

__all__ = ["REFUSE_AT", "WARN_AT", "MemoryUsage", "RedisRoom"]

WARN_AT = 0.70
REFUSE_AT = 0.85

#: Seconds for which an answer of the server is good.
_FRESH = 2.0
#: Seconds for which a sign of life is good.
_ALIVE = 0.2
#: Seconds for which writes have to be refused before anybody is told.
_PATIENCE = 3.0

_PROBE = "fc:room"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUsage:
    """Memory usage of a server, in bytes."""

    used: int
    most: int
    """0: there is no limit."""

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> "MemoryUsage":
        """Read the answer to INFO: buffers of replicas and of the log do not count."""
        used = int(info.get("used_memory", 0)) - int(info.get("mem_not_counted_for_evict", 0))
        return cls(used=used, most=int(info.get("maxmemory", 0)))

    @property
    def share(self) -> float:
        """Part of the memory that is used; 0.0 without a limit."""
        return self.used / self.most if self.most else 0.0

    def __str__(self) -> str:
        """Show both, and the share."""
        used = f"{self.used / 1e6:,.1f} MB"
        return f"{used} of {self.most / 1e6:,.1f} MB, {self.share:.0%}" if self.most else used


class RedisRoom:
    """Implements ``StoreCapacity``; threads may share it."""

    def __init__(self, client: Client, *, name: str | None = None) -> None:
        """Look through ``client``; nothing is sent yet.

        Args:
            client: Of the server.
            name: How errors name a server that is the only one: of several, others look after it.
        """
        self._client = client
        self._name = name
        self._alive: float | None = None
        self._renew()
        renew_after_fork(self, RedisRoom._renew)
        self._fill = MemoryUsage(used=0, most=0)
        self._looked: float | None = None
        self._probed: float | None = None
        self._refused: tuple[float, str] | None = None

    def _renew(self) -> None:
        self._lock = threading.Lock()

    def warning(self) -> str | None:
        """Say so above 70 % of maxmemory."""
        fill = self._look()
        if fill.share <= WARN_AT:
            return None
        return (
            f"Redis is getting full: {fill} of its maxmemory; new runs are refused above "
            f"{REFUSE_AT:.0%}: {MAKE_ROOM}"
        )

    def admit(self) -> None:
        """Refuse above 85 % of maxmemory, and when there is no sign of life for some seconds.

        Raises:
            StoreFullError: It is fuller than that; nothing was started.
            StoreUnreachableError: The server hangs; nothing was started.
        """
        self._require_life()
        fill = self._look()
        if fill.share > REFUSE_AT:
            msg = (
                f"Redis has too little room for a new run: {fill} of its maxmemory, and the rest "
                f"is for the runs it has; {MAKE_ROOM}"
            )
            raise StoreFullError(msg)

    def refusal(self) -> str | None:
        """Try to write, every few seconds; say so when that has been refused for a while."""
        with self._lock:
            now = time.monotonic()
            if self._probed is None or now - self._probed >= _FRESH:
                self._probed = now
                why = self._refused_write()
                since = self._refused[0] if self._refused else now
                self._refused = None if why is None else (since, why)
            if self._refused is None or now - self._refused[0] < _PATIENCE:
                return None
            return (
                f"Redis refuses to write: {self._refused[1]}; its runs wait, and continue when it "
                f"has room: {MAKE_ROOM}"
            )

    def _require_life(self) -> None:
        """Notice in seconds a server that hangs: its answers are waited for longer than that."""
        now = time.monotonic()
        if self._name is None or (self._alive is not None and now - self._alive < _ALIVE):
            return
        ping(self._client, name=self._name)
        self._alive = time.monotonic()

    def _look(self) -> MemoryUsage:
        with self._lock:
            now = time.monotonic()
            if self._looked is None or now - self._looked >= _FRESH:
                with translated():
                    self._fill = MemoryUsage.of(self._info())
                self._looked = now
            return self._fill

    def _info(self) -> Mapping[str, Any]:
        try:
            info: Mapping[str, Any] = self._client.info("memory")
        except NoPermissionError:
            # Whoever may not know how full it is cannot be warned.
            return {}
        return info

    def _refused_write(self) -> str | None:
        try:
            self._client.set(_PROBE, b"", px=1)
        except RedisError as error:
            # A server out of reach, or a user who may only read, is for others to tell.
            return refusal_of(error) if is_full(error) else None
        return None
