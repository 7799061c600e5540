"""Schedules on Redis: a hash and a sorted set of when each is due, for a namespace.

In: schedules. Out: those that are due, by the server's clock.
"""

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from importlib import resources

from flowcore.ports.schedules import Schedule, unreadable
from flowcore.run.wire import pack, unpack
from flowcore.stores.redis.connection.connect import Client, translated
from flowcore.stores.redis.connection.script import Script, ScriptConnection

__all__ = ["RedisSchedules"]

_FIELDS = frozenset(each.name for each in fields(Schedule))


class RedisSchedules:
    """Implements ``ScheduleStore``."""

    def __init__(self, client: Client, *, namespace: str = "") -> None:
        """Keep the schedules of a namespace; nothing is sent yet."""
        folder = resources.files("flowcore.stores.redis") / "lua" / "schedules"
        self._client = client
        self._namespace = namespace
        self._put = Script(ScriptConnection(client), (folder / "put.lua").read_text())
        self._key = f"fc:schedules:{namespace}"
        self._due = f"fc:schedules:due:{namespace}"

    def put(self, schedule: Schedule, *, expected: int | None) -> bool:
        """Keep a schedule, if the one that is kept has the expected revision."""
        kept = replace(schedule, revision=(expected or 0) + 1)
        due = "" if kept.due is None or kept.paused else round(kept.due * 1000)
        about = (kept.name, pack(asdict(kept), what=f"schedule {kept.name!r}"))
        with translated():
            was = "" if expected is None else expected
            return bool(self._put(args=(self._namespace, *about, was, due)))

    def get(self, name: str) -> Schedule | None:
        """Return a schedule."""
        with translated():
            packed = self._client.hget(self._key, name)
        return None if packed is None else _read(name, packed)

    def schedules(self) -> Sequence[Schedule]:
        """Return all of them, by name."""
        with translated():
            found = self._client.hgetall(self._key)
        kept = [_read(name, packed) for name, packed in found.items()]
        return sorted(kept, key=lambda one: one.name)

    def due(self, now: float, *, limit: int = 1000) -> Sequence[Schedule]:
        """Return those that are due, the longest due first."""
        with translated():
            names = self._client.zrangebyscore(
                self._due, "-inf", round(now * 1000), start=0, num=limit
            )
            packed = self._client.hmget(self._key, names) if names else []
        pairs = zip(names, packed, strict=True)
        return [_read(name, one) for name, one in pairs if one is not None]

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


def _read(name: bytes | str, packed: bytes) -> Schedule:
    """Read an entry; keys of a later release are left out."""
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
    try:
        kept = {key: value for key, value in unpack(packed).items() if key in _FIELDS}
        found = Schedule(**{**kept, "tags": tuple(kept["tags"])})
        if not (found.flow and found.name == text):
            raise ValueError("it is another's")  # noqa: TRY301
    except Exception as error:  # noqa: BLE001  (whatever is there, others must be readable)
        return unreadable(text, error)
    return found
