"""F6, F8: the server dies, stops, forgets its last second, has no disk or no memory left.

In: the world's server. Out: faults. Proof is what a client met meanwhile.
"""

import os
import signal
import time
from collections.abc import Iterable

import redis

from tests.faults.injectors.base import Fault
from tests.faults.ledger import PowerLoss
from tests.faults.world import RUNS

__all__ = ["FullDisk", "FullMemory", "KillServer", "LosePower", "StopServer"]

#: Seconds for which a server is full.
_FULL = 2.0


class _AtWork(Fault):
    """A fault that counts only if it comes while nodes run."""

    outage = True

    def busy(self) -> list[str]:
        """Wait for nodes that run, and name them."""
        held = self.world.find(self._held) or []
        return [str(one) for one in held]

    def _held(self) -> Iterable[object]:
        return [one for worker in self.world.workers for one in worker.held()]


class KillServer(_AtWork):
    """F6.

    Nothing that was answered may be gone, but for what the server has put off writing while it
    syncs: so it is killed when there is nothing of that, or at most a few milliseconds of it.
    """

    family, title = "F6", "kill -9 of the server, and its restart"

    def inject(self) -> None:
        held, server = self.busy(), self.world.server
        if not held:
            return
        self.begin()
        before = server.pid
        since = server.written()
        server.kill()
        self.world.ledger.lose_power(PowerLoss(since=since, until=time.time()))
        time.sleep(self.dice.uniform(0.0, 1.0))
        server.start()
        self.end()
        self.proof = f"process {before} died, {server.pid} took over, while {', '.join(held)} ran"


class StopServer(_AtWork):
    """F6."""

    family, title = "F6", "SIGSTOP of the server"

    def inject(self) -> None:
        held, server = self.busy(), self.world.server
        if not held:
            return
        self.begin()
        server.signal(signal.SIGSTOP)
        try:
            met = _met(server.client(RUNS, timeout=1.0))
            time.sleep(max(0.0, self.at + self.world.times.freeze - time.time()))
        finally:
            server.signal(signal.SIGCONT)
            server.wait_until_ready()
            self.end()
        if met:
            took = self.over - self.at
            self.proof = f"no answer for {took:.0f} s ({met}), while {', '.join(held)} ran"


class LosePower(_AtWork):
    """F6: the machine dies, and the last second was not on the disk.

    Promised is no more than ``appendfsync everysec`` gives: what was accepted in that second may
    be gone, and its client has to send it again; whatever is known must end rightly.
    """

    family, title = "F6", "the last second of the append-only file cut off"

    def inject(self) -> None:
        held, server = self.busy(), self.world.server
        if not held:
            return
        since = server.written()
        _, kept = server.appended()
        time.sleep(1.0)
        self.begin()
        server.kill()
        file, size = server.appended()
        # A few bytes more than was there a second ago: the last write is torn.
        os.truncate(file, min(size, kept + self.dice.randrange(40)))
        self.world.ledger.lose_power(PowerLoss(since=since, until=time.time()))
        server.start()
        self.end()
        if size > kept:
            self.proof = f"{size - kept:,} of {size:,} bytes lost, while {', '.join(held)} ran"


class FullDisk(_AtWork):
    """F8: no file of the server may grow (RLIMIT_FSIZE: needs no right to mount anything)."""

    family, title = "F8", "the server's disk full"

    def inject(self) -> None:
        held, server = self.busy(), self.world.server
        if not held:
            return
        self.begin()
        _, size = server.appended()
        server.limit_files(size)
        try:
            met = self._refused()
            time.sleep(_FULL)
        finally:
            server.limit_files(None)
            self.end()
        if met:
            self.proof = (
                f"writes were refused for {_FULL:.0f} s ({met}), while {', '.join(held)} ran"
            )

    def _refused(self) -> str | None:
        client = self.world.server.client(RUNS)
        return self.world.wait_for(lambda: _met(client), patience=5)


class FullMemory(FullDisk):
    """F8."""

    family, title = "F8", "maxmemory reached"

    def inject(self) -> None:
        held, server = self.busy(), self.world.server
        if not held:
            return
        self.begin()
        server.limit_memory(2**20)
        try:
            met = self._refused()
            time.sleep(_FULL)
        finally:
            server.limit_memory(0)
            self.end()
        if met:
            self.proof = (
                f"writes were refused for {_FULL:.0f} s ({met}), while {', '.join(held)} ran"
            )


def _met(client: "redis.Redis") -> str | None:
    """Write and take it back; return the error if there is one."""
    try:
        client.set("faults:probe", 1, px=1)
    except redis.RedisError as error:
        return f"{type(error).__name__}: {str(error)[:60]}"
    return None
