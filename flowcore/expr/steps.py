"""Operations on one value after the other: fields, indexes, operators, calls.

In: parts, and what works out their operands. Out: functions of a frame. Not here: which part
becomes which (evaluation), what operators and functions do (arithmetic, functions).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flowcore.errors import ExpressionError
from flowcore.expr.arithmetic import BINARY, has_key, negative
from flowcore.expr.budget import BudgetError
from flowcore.expr.frame import FAILURE, Frame, MisfitError, Run, Step, at_place, fails
from flowcore.expr.functions import FUNCTIONS, Function
from flowcore.expr.paths import get, select
from flowcore.expr.scan import ExpressionSyntaxError
from flowcore.expr.tree import Part

__all__ = [
    "call",
    "chained",
    "decide",
    "first_deciding",
    "function_of",
    "invert",
    "negate",
    "operate",
    "read",
    "take",
    "take_at",
]


def read(name: str, at: int, *, keyed: bool = False) -> Run:
    """Read a name; ``keyed``, as a key of ``nodes``."""

    def run(frame: Frame) -> Any:
        try:
            return get(frame.context, name, keyed=keyed)
        except ExpressionError as error:
            raise MisfitError(str(error), at) from None

    return run


def chained(first: Run, steps: Sequence[Step]) -> Run:
    """Do one thing after the other with a value."""
    if len(steps) == 1:
        only = steps[0]
        return lambda frame: only(frame, first(frame))

    def run(frame: Frame) -> Any:
        value = first(frame)
        for step in steps:
            value = step(frame, value)
        return value

    return run


def invert(part: Part) -> Step:
    """Apply ``!``."""

    def step(_: Frame, value: Any) -> Any:
        if isinstance(value, bool):
            return not value
        raise fails(part, value)

    return step


def negate(part: Part) -> Step:
    """Apply the minus before a value."""

    def step(_: Frame, value: Any) -> Any:
        try:
            found = negative(value)
        except ExpressionError as error:
            raise at_place(part, error) from None
        if found is NotImplemented:
            raise fails(part, value)
        return found

    return step


def operate(part: Part, right: Run) -> Step:
    """Apply an operator to a value and what is right of it."""
    work = BINARY[part.word]

    def step(frame: Frame, left: Any) -> Any:
        other = right(frame)
        try:
            found = work(left, other, frame.budget)
        except ExpressionError as error:
            raise at_place(part, error) from None
        if found is NotImplemented:
            raise fails(part, left, other)
        return found

    return step


def decide(part: Part, terms: Sequence[tuple[Run, Part]]) -> Run:
    """``&&`` and ``||``: a term that decides does so though another cannot be worked out."""
    decides = part.word == "||"
    runs = [_boolean(part, term) for term, _ in terms]
    return lambda frame: first_deciding(frame, runs, decides=decides)


def _boolean(part: Part, term: Run) -> Run:
    def run(frame: Frame) -> Any:
        found = term(frame)
        if isinstance(found, bool):
            return found
        raise fails(part, found)

    return run


def first_deciding(frame: Frame, runs: Iterable[Run], *, decides: bool) -> bool:
    """Run one after the other until one returns ``decides``.

    Raises:
        ExpressionError: None decides, and one, of which this is the first, cannot be worked out.
    """
    trouble: ExpressionError | None = None
    for run in runs:
        try:
            found: object = run(frame)
        except BudgetError:
            raise
        except ExpressionError as error:
            frame.budget.spend(FAILURE)
            trouble = trouble or error
            continue
        if found is decides:
            return decides
    if trouble is not None:
        raise trouble
    return not decides


def take(part: Part) -> Step:
    """Take the value under a key that is written out."""
    key = part.word

    def step(_: Frame, value: Any) -> Any:
        try:
            return select(value, key)
        except ExpressionError as error:
            raise MisfitError(str(error), part.at) from None

    return step


def take_at(part: Part, index: Run) -> Step:
    """Take the value under a key or a number that is worked out."""

    def step(frame: Frame, value: Any) -> Any:
        key = index(frame)
        try:
            if isinstance(value, Mapping) and isinstance(key, int | float) and has_key(value, key):
                return value[key]
            return select(value, key)
        except ExpressionError as error:
            raise MisfitError(str(error), part.at) from None

    return step


def function_of(part: Part, values: int, *, method: bool) -> Function:
    """Find a function.

    Raises:
        ExpressionSyntaxError: There is none that is called like this.
    """
    function = FUNCTIONS.get(part.word)
    if function is None or not (function.method if method else function.free):
        how = f"as value.{part.word}(…)" if not method else f"as {part.word}(value)"
        words = f"{part.word}() is called {how}"
        if function is None:
            words = f"{part.word}() takes the name of a member and an expression"
        raise ExpressionSyntaxError(words, part.at)
    if values not in function.of:
        words = f"{part.word}() takes {' or '.join(map(str, function.of))} values, not {values}"
        raise ExpressionSyntaxError(words, part.at)
    return function


def call(part: Part, function: Function, rest: Sequence[Run]) -> Step:
    """Call a function with a value and the rest of its arguments."""
    work, cost = function.run, function.cost

    def step(frame: Frame, value: Any) -> Any:
        values = (value, *[one(frame) for one in rest])
        frame.budget.spend(cost)
        try:
            found = work(frame.budget, *values)
        except ExpressionError as error:
            raise at_place(part, error) from None
        if found is NotImplemented:
            raise fails(part, *values)
        return found

    return step
