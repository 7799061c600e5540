"""Environment in which an expression is evaluated, and the failure of a part of it.

In: names and their values, a budget. Out: the frame that every part is given; ``MisfitError``,
which says why a part cannot be worked out, and where. Not here: the parts (steps, evaluation).
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from flowcore.errors import ExpressionError
from flowcore.expr.budget import Budget, BudgetError
from flowcore.expr.misfit import misfit
from flowcore.expr.tree import Part
from flowcore.expr.values import type_name

__all__ = ["FAILURE", "Frame", "Loop", "MisfitError", "Run", "Scope", "Step", "at_place", "fails"]


class MisfitError(ExpressionError):
    """A part of an expression cannot be worked out.

    Attributes:
        words: Why.
        at: Where, in characters from the start of the expression.
    """

    def __init__(self, words: str, at: int) -> None:
        """Keep both."""
        super().__init__(words)
        self.words, self.at = words, at

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.words, self.at)


class Frame:
    """Environment of one evaluation."""

    __slots__ = ("budget", "context", "variables")

    def __init__(self, context: Mapping[str, Any], budget: Budget, variables: int) -> None:
        """Start with room for the variables of loops."""
        self.context = context
        self.budget = budget
        self.variables: list[Any] = [None] * variables


#: Steps that a part takes which cannot be worked out, where another one decides.
FAILURE = 20

Run: TypeAlias = Callable[[Frame], Any]
#: What is done with the value of the parts before.
Step: TypeAlias = Callable[[Frame, Any], Any]
#: Variables of loops, each with its place in the frame.
Scope: TypeAlias = Mapping[str, int]
#: Turns a loop into a step; given what to work its body out with.
Loop: TypeAlias = Callable[[Part, Scope], Step]


def fails(part: Part, *values: object) -> MisfitError:
    """Say that an operator or function does not take these values."""
    return MisfitError(misfit(part, [type_name(value) for value in values]), part.at)


def at_place(part: Part, error: ExpressionError) -> ExpressionError:
    """Say where an error came up, once, unless it is of the whole expression."""
    if isinstance(error, MisfitError | BudgetError):
        return error
    words = f"{part.word}(): {error}" if part.kind == "call" else str(error)
    return MisfitError(words, part.at)
