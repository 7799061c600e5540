"""F4 in part, and F5: processes that die at a known place in the code.

In: the world's crash points. Out: faults. Proof is the file that the dead process left.
"""

from tests.faults.crash import POINTS
from tests.faults.injectors.base import Fault, are_dead

__all__ = [
    "DiesClaimed",
    "DiesEmitting",
    "DiesPopping",
    "DiesStarting",
    "DiesUnpublished",
    "DiesUnsettled",
    "DiesWoken",
]


class _Dies(Fault):
    """Arms one place and waits for somebody to die there."""

    point: str

    def inject(self) -> None:
        crashes = self.world.crashes
        self.begin()
        crashes.arm(self.point)
        hit = self.world.find(lambda: crashes.hit(self.point))
        crashes.disarm(self.point)
        if hit is None:
            return
        self.begin()
        pid = int(hit["pid"])
        if self.world.wait_for(lambda: are_dead([pid]), patience=10):
            self.proof = f"process {pid} died {POINTS[self.point]}: {hit['what']}"


class DiesPopping(_Dies):
    """F4."""

    family, title, point = "F4", "kill in the pop window", "popped"


class DiesClaimed(_Dies):
    """F5."""

    family, title, point = "F5", "crash after the claim", "claimed"


class DiesUnsettled(_Dies):
    """F5."""

    family, title, point = "F5", "crash before the settle", "unsettled"


class DiesUnpublished(_Dies):
    """F5."""

    family, title, point = "F5", "crash after the settle, before the publish", "unpublished"


class DiesEmitting(_Dies):
    """F5."""

    family, title, point = "F5", "crash in the middle of a node's events", "emitted"


class DiesStarting(_Dies):
    """F5, of flows of flows."""

    family, title, point = "F5", "crash after a run inside another was started", "started"


class DiesWoken(_Dies):
    """F5, of flows of flows."""

    family, title, point = "F5", "crash of a node that a run inside has woken", "woken"
