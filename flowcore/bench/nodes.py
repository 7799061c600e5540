"""The functions that benchmark flows are made of, and the name of the task beside them.

In: a node's arguments. Out: as little as the measurement needs. Imported by the workers, so
nothing but the standard library is imported here.
"""

import time
from collections.abc import Iterator

__all__ = ["CEILING_TASK", "calibrate", "moment", "noop", "pause", "speak", "spin"]

#: The ordinary Celery task that the ceiling is measured with; see ``app``.
CEILING_TASK = "flowcore.bench.noop"

_BATCH = 20_000


def noop() -> None:
    """Do nothing: all that is measured is the engine."""


def pause(seconds: float) -> None:
    """Hold a slot without using the processor."""
    time.sleep(seconds)


def moment() -> float:
    """Return when the function was called, in Unix seconds: events know only milliseconds."""
    return time.time()


def speak(count: int, pause: float) -> Iterator[float]:
    """Yield the time, in Unix seconds, ``count`` times, with a pause before each."""
    for _ in range(count):
        if pause:
            time.sleep(pause)
        yield time.time()


def spin(rounds: int) -> int:
    """Use the processor for a number of rounds, as Task Bench's compute-bound kernel does."""
    total = 0
    for at in range(rounds):
        total ^= at
    return total


def calibrate(seconds: float = 0.3) -> float:
    """Spin for a while; return the seconds that one round of ``spin`` took on average."""
    rounds = 0
    started = time.perf_counter()
    while (taken := time.perf_counter() - started) < seconds:
        spin(_BATCH)
        rounds += _BATCH
    return taken / rounds
