"""The work that expressions may do: counted while they do it, and ended when it is too much.

In: steps and bytes. Out: ``BudgetError`` once there are too many. Not here: what costs how much
(each operation says).

A step is one part of an expression that is worked out once, some tenths of a microsecond; copying
or comparing a kilobyte counts as one, too. Steps and not seconds are counted, so that what is
refused on a busy machine is refused on every machine.
"""

from typing import Any

from flowcore.errors import ExpressionError

__all__ = ["MAX_BYTES", "MAX_STEPS", "Budget", "BudgetError"]

MAX_STEPS = 3_000_000
MAX_BYTES = 96 * 2**20

#: Bytes that are copied or compared in one step.
_PER_STEP = 1024


class BudgetError(ExpressionError):
    """An expression does too much: neither ``||`` nor ``exists`` goes on without that part."""


class Budget:
    """Remaining steps and bytes of one expression, or of one node's ``with``."""

    __slots__ = ("bytes", "copies", "steps")

    def __init__(self, *, shared: bool = False) -> None:
        """Start with all of it.

        Args:
            shared: Several expressions have this budget, which may read the same values.
        """
        self.steps = MAX_STEPS
        self.bytes = MAX_BYTES
        self.copies: dict[int, tuple[Any, int]] | None = {} if shared else None
        """What was copied of the data, by its place in memory, with its bytes as text."""

    def spend(self, steps: int) -> None:
        """Take some steps.

        Raises:
            BudgetError: There are not as many left.
        """
        self.steps -= steps
        if self.steps < 0:
            msg = f"it takes more than {MAX_STEPS:,} steps on this data; do it in a function"
            raise BudgetError(msg)

    def read(self, size: int) -> None:
        """Look at ``size`` bytes."""
        if size > _PER_STEP:
            self.spend(size // _PER_STEP)

    def make(self, size: int) -> None:
        """Make something of ``size`` bytes.

        Raises:
            BudgetError: It would be too much, together with what was made before.
        """
        self.bytes -= size
        if self.bytes < 0:
            msg = f"it makes more than {MAX_BYTES // 2**20} MB of this data; do it in a function"
            raise BudgetError(msg)
        self.read(size)
