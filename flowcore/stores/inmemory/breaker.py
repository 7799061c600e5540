"""Circuit breakers in memory: the scripts of ``lua/breakers`` said a second time.

In: how attempts ended. Out: the same answers. It is shipped for tests, in one process.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from flowcore.ports.breaker import Circuit, Verdict

__all__ = ["InMemoryBreakers"]


@dataclass(slots=True)
class _Kept:
    fails: dict[str, float] = field(default_factory=dict)
    until: float | None = None
    wins: int = 0
    trials: dict[str, float] = field(default_factory=dict)


class InMemoryBreakers:
    """Keeps circuits in this process; safe to share between threads."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        """Count on ``clock``."""
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def enter(self, circuit: Circuit, holder: str) -> float | None:
        """Ask whether an attempt may begin."""
        with self._lock:
            kept, now = self._kept.setdefault(circuit.name, _Kept()), self._clock()
            if kept.until is None:
                return None
            # Opened by an older definition, it is open no longer than this one says.
            kept.until = min(kept.until, now + circuit.reset_after)
            if now < kept.until:
                return kept.until - now
            kept.trials = {one: until for one, until in kept.trials.items() if until > now}
            if holder not in kept.trials:
                if len(kept.trials) >= circuit.trials:
                    return min(kept.trials.values()) - now
                kept.trials[holder] = now + circuit.reset_after
            return None

    def leave(self, circuit: Circuit, holder: str, verdict: Verdict) -> str | None:
        """Say how an attempt ended."""
        with self._lock:
            kept, now = self._kept.setdefault(circuit.name, _Kept()), self._clock()
            tried = kept.trials.pop(holder, None) is not None
            if kept.until is not None:
                return self._tried(circuit, kept, verdict) if tried and now >= kept.until else None
            if verdict != "failed":
                return None
            kept.fails[holder] = now
            kept.fails = {one: at for one, at in kept.fails.items() if at > now - circuit.within}
            return self._trip(circuit) if len(kept.fails) >= circuit.failures else None

    def _tried(self, circuit: Circuit, kept: _Kept, verdict: Verdict) -> str | None:
        if verdict == "failed":
            return self._trip(circuit)
        kept.wins += verdict == "succeeded"
        if kept.wins < circuit.trials:
            return None
        self._kept[circuit.name] = _Kept()
        return "closed"

    def _trip(self, circuit: Circuit) -> str:
        self._kept[circuit.name] = _Kept(until=self._clock() + circuit.reset_after)
        return "open"
