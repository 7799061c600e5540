"""What a fault is.

In: the world and a seeded dice. Out: one fault; whether it has hit, and how that is known.
"""

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import psutil

from tests.faults.recovery import Blow
from tests.faults.world import World

__all__ = ["Fault", "are_dead"]


class Fault(ABC):
    """One fault, to be injected once.

    Subclasses set ``proof`` once they have seen that something was hit: a process that died with
    work in its hands, messages that are gone, a counter, an error that a client met.
    """

    family: ClassVar[str]
    """Its name in the matrix, such as ``F1``."""
    title: ClassVar[str]
    outage: ClassVar[bool] = False
    """Whether nobody can work until it is over."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self.world = world
        self.dice = dice
        self.at = 0.0
        """Unix seconds at which it began."""
        self.over = 0.0
        """Unix seconds from which recovery was possible: the end of an outage, else ``at``."""
        self.proof = ""

    @classmethod
    def missing(cls) -> str | None:
        """Why this machine cannot have this fault; None when it can."""
        return None

    def blow(self) -> Blow:
        """When it was, for the count of recoveries."""
        title = f"{self.family} {self.title}"
        return Blow(at=self.at, over=self.over, title=title, outage=self.outage)

    @abstractmethod
    def inject(self) -> None:
        """Do it, and come back when it is over."""

    def evidence(self) -> str | None:
        """How it is known that something was hit; None when nothing was."""
        return self.proof or None

    def begin(self) -> None:
        """Note the time."""
        self.at = self.over = time.time()

    def end(self) -> None:
        """Note that the outage is over."""
        self.over = time.time()


def are_dead(pids: Iterable[int]) -> bool:
    """Whether none of them runs any more; a corpse that nobody has reaped is dead."""
    return not any(map(_lives, pids))


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
