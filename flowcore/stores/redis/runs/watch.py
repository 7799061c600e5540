"""Waiting for news of many runs on one connection to Redis.

In: runs. Out: their new events, their ends. Not here: who wants to know (client.hub).

One XREAD names the logs of all runs. When another run is to be added, the read that is under way
is ended from another connection (CLIENT UNBLOCK), so that nobody's first event comes late. Where a
user may not do that, reads are short instead.
"""

import selectors
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from flowcore.errors import ServiceError
from flowcore.plan.plan import Plan
from flowcore.ports.watch import Arrived, Standing
from flowcore.run.event import Event
from flowcore.run.status import RunState
from flowcore.stores.redis.connection.connect import Client, translated
from flowcore.stores.redis.keys import run_key
from flowcore.stores.redis.runs.event_codec import events_in

__all__ = ["RedisRunWatch"]

#: Entries of one answer, of all runs together, and of one run.
_AT_ONCE, _LEAST, _MOST = 20_000, 10, 1000

#: Seconds after its time at which an answer is missing: the server hangs, or is gone.
_GRACE = 10.0

#: Seconds of a read that nobody may end.
_SHORT = 0.05


class RedisRunWatch:
    """Implements ``RunWatch`` on one server."""

    def __init__(self, client: Client, waiting: Client) -> None:
        """Send commands through ``client``; connect as ``waiting`` does. Nothing is sent yet."""
        self._client = client
        self._pool = waiting.connection_pool
        self._connection: Any = None
        self._id = 0
        self._may_unblock = True
        self._ear, self._bell = socket.socketpair()
        for end in (self._ear, self._bell):
            end.settimeout(0)

    def wait(
        self, logs: Mapping[str, tuple[Plan, int]], ends: Sequence[str], *, block: float
    ) -> Arrived:
        """Wait for the first news of any of these runs."""
        places = {run_key(run, "ev").encode(): run for run in logs}
        done = {run_key(run, "done").encode(): run for run in ends}
        starts = [f"0-{after}" for _, after in logs.values()] + ["0-0"] * len(done)
        each = max(_LEAST, min(_MOST, _AT_ONCE // max(1, len(starts))))
        with translated():
            try:
                found = self._read([*places, *done], starts, each, block)
            except ResponseError as error:
                return self._apart(places | done, error)
        events: dict[str, Sequence[Event]] = {}
        failed: dict[str, Exception] = {}
        for key, entries in found.items():
            if run := places.get(key):
                plan, after = logs[run]
                try:
                    events[run] = events_in(run, plan, entries, after=after)
                except Exception as error:  # noqa: BLE001  (whatever it is, other runs can be read)
                    failed[run] = error
        ended = frozenset(run for key, run in done.items() if key in found)
        return Arrived(events=events, ended=ended, failed=failed)

    def interrupt(self) -> None:
        """Ring: a wait that is under way hears it."""
        try:
            self._bell.send(b"x")
        except BlockingIOError:
            pass  # it has been rung often enough
        except OSError:
            pass  # closed

    def standings(self, runs: Sequence[str]) -> Mapping[str, Standing]:
        """Say where runs stand."""
        with translated():
            pipe = self._client.pipeline(transaction=False)
            for run in runs:
                pipe.hget(run_key(run, "run"), "state")
                pipe.xrevrange(run_key(run, "ev"), count=1)
            answers = pipe.execute(raise_on_error=False)
        found: dict[str, Standing] = {}
        for run, state, latest in zip(runs, answers[::2], answers[1::2], strict=True):
            if isinstance(state, bytes) and isinstance(latest, list):
                last = int(latest[0][0].split(b"-")[1]) if latest else 0
                found[run] = Standing(state=RunState(state.decode()), last=last)
        return found

    def close(self) -> None:
        """Close everything."""
        self._disconnect()
        self._ear.close()
        self._bell.close()

    def _read(
        self, keys: Sequence[bytes], starts: Sequence[str], each: int, block: float
    ) -> dict[bytes, list[tuple[bytes, dict[bytes, bytes]]]]:
        if not self._may_unblock:
            block = min(block, _SHORT)
        connection = self._connected()
        try:
            connection.send_command(
                *("XREAD", "COUNT", each, "BLOCK", max(1, round(block * 1000))),
                *("STREAMS", *keys, *starts),
                check_health=False,
            )
            self._await(connection, block)
            return _entries(connection.read_response())
        except ResponseError as error:
            if str(error).startswith("UNBLOCKED"):  # this server is no primary any more
                self._disconnect()
                raise RedisConnectionError(str(error)) from error
            raise
        except BaseException:
            # An answer may still be under way: it must not be taken for the next one's.
            self._disconnect()
            raise

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def _connected(self) -> Any:
        if self._connection is None:
            connection = self._pool.connection_class(**self._pool.connection_kwargs)
            connection.connect()
            connection.send_command("CLIENT", "ID", check_health=False)
            try:
                self._id = connection.read_response()
            except ResponseError:
                self._may_unblock = False
            self._connection = connection
        return self._connection

    def _await(self, connection: Any, block: float) -> None:
        """Wait for an answer, or let the server give one at once when somebody rings."""
        ends = time.monotonic() + block + _GRACE
        rung = False
        with selectors.DefaultSelector() as selector:
            selector.register(connection._sock, selectors.EVENT_READ)  # noqa: SLF001  (has no name)
            selector.register(self._ear, selectors.EVENT_READ)
            while True:
                left = ends - time.monotonic()
                ready = selector.select(0.002 if rung and self._may_unblock else max(0.0, left))
                if any(key.fileobj is not self._ear for key, _ in ready):
                    return
                if left <= 0:
                    raise RedisTimeoutError(f"no answer within {block + _GRACE:.0f} s")
                if ready:
                    self._ear.recv(4096)
                    rung = True
                if rung and self._may_unblock:
                    self._unblock()

    def _unblock(self) -> None:
        """End the read; again, should it not have begun when this arrives."""
        try:
            self._client.client_unblock(self._id)
        except ResponseError:  # forbidden, or a proxy that does not know it
            self._may_unblock = False

    def _apart(self, keys: Mapping[bytes, str], error: Exception) -> Arrived:
        """Tell the runs whose log is something else from the others."""
        pipe = self._client.pipeline(transaction=False)
        for key in keys:
            pipe.type(key)
        kinds = dict(zip(keys.values(), pipe.execute(), strict=True))
        wrong = {run: kind for run, kind in kinds.items() if kind not in {b"stream", b"none"}}
        if not wrong:
            raise error
        return Arrived(
            failed={
                run: ServiceError(f"the log of run {run!r} cannot be read: {error}")
                for run in wrong
            }
        )


def _entries(answer: Any) -> dict[bytes, list[tuple[bytes, dict[bytes, bytes]]]]:
    """The entries of each stream, from either protocol's form of an XREAD answer."""
    pairs: Iterator[Any] = iter(answer.items() if isinstance(answer, dict) else answer or ())
    return {
        key: [(id, dict(zip(flat[::2], flat[1::2], strict=True))) for id, flat in entries]
        for key, entries in pairs
    }
