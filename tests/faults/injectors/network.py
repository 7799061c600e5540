"""F7: the way to the server is bad. And F9: a worker's clock is wrong.

In: the proxy before worker ``two``, the clock of worker ``one``. Out: faults. Proof is the proxy's
counters, and what the worker's clock said while it ran nodes.
"""

import time

from tests.faults.injectors.base import Fault
from tests.faults.world import find_faketime

__all__ = ["ClockAhead", "ClockBehind", "Delays", "Drops", "HalfClosed", "Resets"]

_HOUR = 3600.0


class Resets(Fault):
    """F7."""

    family, title = "F7", "connections reset, three times"

    def inject(self) -> None:
        if not self.world.find(self.world.workers[1].held):
            return
        self.begin()
        counts = [self.world.proxy.reset()]
        for _ in range(2):
            time.sleep(self.dice.uniform(0.1, 0.6))
            counts.append(self.world.proxy.reset())
        self.end()
        if sum(counts):
            self.proof = f"{' + '.join(map(str, counts))} connections of worker two reset"


class HalfClosed(Fault):
    """F7."""

    family, title = "F7", "connections closed on one side"

    def inject(self) -> None:
        if not self.world.find(self.world.workers[1].held):
            return
        self.begin()
        if count := self.world.proxy.half_close():
            self.proof = f"the server's side of {count} connections of worker two closed"


class Delays(Fault):
    """F7."""

    family, title = "F7", "200 ms of delay"

    def inject(self) -> None:
        if not self.world.find(self.world.workers[1].held):
            return
        proxy = self.world.proxy
        before = proxy.counts["pieces delayed"]
        self.begin()
        proxy.delay(0.2)
        time.sleep(2 * self.world.times.lease)
        proxy.heal()
        self.end()
        if count := proxy.counts["pieces delayed"] - before:
            self.proof = f"{count} pieces of data of worker two came 200 ms late"


class Drops(Fault):
    """F7."""

    family, title = "F7", "data dropped for two leases"

    def inject(self) -> None:
        if not self.world.find(self.world.workers[1].held):
            return
        proxy = self.world.proxy
        before = proxy.counts["bytes dropped"]
        self.begin()
        proxy.drop()
        time.sleep(2 * self.world.times.lease)
        proxy.heal()
        self.end()
        if count := proxy.counts["bytes dropped"] - before:
            self.proof = f"{count:,} bytes of worker two dropped"


class _Clock(Fault):
    """Sets the clock of worker one wrong for two leases, and right again."""

    offset: float

    @classmethod
    def missing(cls) -> str | None:
        if find_faketime() is None:
            return "libfaketime is not installed (apt-get install faketime)"
        return None

    def inject(self) -> None:
        if not self.world.find(self.world.workers[0].held):
            return
        self.begin()
        before = len(self.world.executions.all())
        self.world.clock.write_text(f"{self.offset:+.0f}", "ascii")
        hit = self.world.find(lambda: self._wrong(before) >= 3)
        time.sleep(2 * self.world.times.lease)
        self.world.clock.write_text("+0", "ascii")
        self.end()
        if hit:
            count = self._wrong(before)
            self.proof = f"worker one ran {count} nodes with its clock {self.offset:+.0f} s off"

    def _wrong(self, before: int) -> int:
        new = self.world.executions.all()[before:]
        return sum(abs(one.skew - self.offset) < _HOUR / 10 for one in new)


class ClockAhead(_Clock):
    """F9."""

    family, title, offset = "F9", "a worker's clock an hour ahead", _HOUR


class ClockBehind(_Clock):
    """F9."""

    family, title, offset = "F9", "a worker's clock an hour behind", -_HOUR
