"""Sweeps that a server does when they were asked for, or not at all.

In: the script, and what it is told. Out: what it found. Not here: what is overdue (sweep.lua).

What a client asks of a server that is frozen waits in the kernel, and is done when the server goes
on: a sweep among it, before those whose leases have run out meanwhile can renew them. So a sweep
says by when, on the server's clock, it is to be done.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgpack

from flowcore.errors import StoreUnreachableError
from flowcore.ports.store import SweepResult
from flowcore.run.record import DEADLINE_PASSED, GIVEN_UP, WORKER_LOST
from flowcore.stores.redis.runs.codec import read_sweep

__all__ = ["Sweeper"]

#: Seconds that a sweep may be under way, at least.
_LEAST = 1.0


class Sweeper:
    """Asks for sweeps."""

    def __init__(
        self,
        call: Callable[..., Any],
        *,
        max_lost: int,
        lease: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know nothing of the server's clock yet.

        Args:
            call: Calls the script.
            max_lost: A node that has lost its worker more often is failed.
            lease: Seconds; a holder has half of it left, or more.
            clock: Seconds.
        """
        self._call = call
        self._max_lost = max_lost
        self._slack = max(_LEAST, lease / 4)
        self._clock = clock
        self._known: tuple[float, int] | None = None
        """When the server has answered last, and what time it had (ms)."""

    def sweep(self, limit: int) -> tuple[SweepResult, Mapping[str, Exception]]:
        """Deal with up to ``limit`` things that are overdue; see ``read_sweep``.

        Raises:
            StoreUnreachableError: The server was not there when it was asked.
        """
        answer = self._call(
            limit,
            self._max_lost,
            msgpack.packb(WORKER_LOST.as_dict()),
            msgpack.packb(DEADLINE_PASSED.as_dict()),
            msgpack.packb({"error": WORKER_LOST.as_dict()}),
            GIVEN_UP,
            self._latest(),
        )
        self._known = self._clock(), answer[-1]
        if answer[0] == b"late":
            msg = "Redis has answered too late: leases may have run out whose holders live"
            raise StoreUnreachableError(msg)
        return read_sweep(answer[0], answer[1])

    def _latest(self) -> int | str:
        if self._known is None:
            return ""
        at, had = self._known
        return had + round((self._clock() - at + self._slack) * 1000)
