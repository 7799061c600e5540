"""Schedules on Redis: a hash and a sorted set of when each is due, for a namespace.

In: schedules. Out: those that are due, by the server's clock.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib import resources

import msgpack

from flowcore.ports.schedules import Schedule
from flowcore.stores.redis.connect import Client, translated
from flowcore.stores.redis.script import Line, Script

__all__ = ["RedisSchedules"]


class RedisSchedules:
    """Implements ``ScheduleBook``."""

    def __init__(self, client: Client, *, namespace: str = "") -> None:
        """Keep the schedules of a namespace; nothing is sent yet."""
        folder = resources.files(__package__) / "lua" / "schedules"
        self._client = client
        self._namespace = namespace
        self._put = Script(Line(client), (folder / "put.lua").read_text())
        self._key = f"fc:schedules:{namespace}"
        self._due = f"fc:schedules:due:{namespace}"

    def put(self, schedule: Schedule, *, expected: int | None) -> bool:
        """Keep a schedule, if the one that is kept has the expected revision."""
        kept = replace(schedule, revision=(expected or 0) + 1)
        due = "" if kept.due is None or kept.paused else round(kept.due * 1000)
        about = (kept.name, msgpack.packb(asdict(kept)))
        with translated():
            was = "" if expected is None else expected
            return bool(self._put(args=(self._namespace, *about, was, due)))

    def get(self, name: str) -> Schedule | None:
        """Return a schedule."""
        with translated():
            packed = self._client.hget(self._key, name)
        return None if packed is None else _read(packed)

    def schedules(self) -> Sequence[Schedule]:
        """Return all of them, by name."""
        with translated():
            found = self._client.hvals(self._key)
        return sorted(map(_read, found), key=lambda one: one.name)

    def due(self, now: float) -> Sequence[Schedule]:
        """Return those that are due, the longest due first."""
        with translated():
            names = self._client.zrangebyscore(self._due, "-inf", round(now * 1000))
            packed = self._client.hmget(self._key, names) if names else []
        return [_read(one) for one in packed if one is not None]

    def remove(self, name: str) -> bool:
        """Forget a schedule."""
        with translated():
            pipe = self._client.pipeline(transaction=True)
            gone, _ = pipe.hdel(self._key, name).zrem(self._due, name).execute()
        return bool(gone)

    def now(self) -> float:
        """Return the server's time."""
        with translated():
            seconds, micros = self._client.time()
        return float(seconds + micros / 1e6)


def _read(packed: bytes) -> Schedule:
    kept = msgpack.unpackb(packed, strict_map_key=False)
    return Schedule(**{**kept, "tags": tuple(kept["tags"])})
