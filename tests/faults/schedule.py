"""Which faults, in which order.

In: a seed, a number. Out: classes of faults: first one of each family, then the other kinds, then
all of them again, each round in an order of its own.
"""

import random
from collections.abc import Iterator
from itertools import islice

from tests.faults.injectors import messages, network, places, processes, servers
from tests.faults.injectors.base import Fault

__all__ = ["CONTROL", "INNER", "KINDS", "schedule"]

KINDS: tuple[type[Fault], ...] = (
    processes.KillWorker,
    processes.KillChild,
    processes.OutOfMemory,
    processes.StopWorker,
    places.DiesPopping,
    messages.LostMessages,
    places.DiesClaimed,
    places.DiesUnsettled,
    places.DiesUnpublished,
    places.DiesEmitting,
    servers.KillServer,
    servers.StopServer,
    servers.LosePower,
    network.Resets,
    network.Delays,
    network.Drops,
    network.HalfClosed,
    servers.FullDisk,
    servers.FullMemory,
    network.ClockAhead,
    network.ClockBehind,
    messages.DoubledMessages,
    messages.StaleMessages,
    messages.DamagedMessages,
    messages.Garbage,
    messages.BigPayload,
    messages.PoisonNode,
    processes.RollingRestart,
    processes.SlowConsumer,
    messages.FlushedBroker,
)

#: Those that only flows of flows can meet.
INNER: tuple[type[Fault], ...] = (places.DiesStarting, places.DiesWoken)

#: What the control meets: faults that nothing but leases and a janitor makes good.
CONTROL: tuple[type[Fault], ...] = (
    messages.LostMessages,
    processes.KillWorker,
    places.DiesPopping,
    messages.FlushedBroker,
)


def schedule(seed: int, count: int, *, kinds: tuple[type[Fault], ...] = KINDS) -> list[type[Fault]]:
    """Choose ``count`` faults."""
    return list(islice(_endless(random.Random(f"schedule {seed}"), kinds), count))


def _endless(dice: random.Random, kinds: tuple[type[Fault], ...]) -> Iterator[type[Fault]]:
    families: dict[str, list[type[Fault]]] = {}
    for kind in kinds:
        families.setdefault(kind.family, []).append(kind)
    first = [dice.choice(members) for members in families.values()]
    rest = [kind for kind in kinds if kind not in first]
    while True:
        dice.shuffle(first)
        dice.shuffle(rest)
        yield from first
        yield from rest
        first, rest = list(kinds), []
