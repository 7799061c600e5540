"""Operators, by the types of their operands.

In: two values and the budget. Out: a value; NotImplemented where CEL has no such operation. Not
here: which operator stands where (evaluation), ``&&`` and ``||`` (evaluation). Rules after the CEL
language definition: numbers are compared across types and never mixed otherwise.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from flowcore.errors import ExpressionError
from flowcore.expr.budget import Budget
from flowcore.expr.times import duration_of, time_of
from flowcore.expr.values import INT, UINT, Uint, type_name

__all__ = ["BINARY", "contains", "equal", "made_of", "negative", "whole"]

_NUMBERS = frozenset({"int", "uint", "double"})
_ORDERED = frozenset({"string", "bytes", "bool", "timestamp", "duration"})
#: Bytes of a list and of one of its members, of a map and of one of its entries.
LIST, MEMBER, MAP, ENTRY = 56, 40, 64, 100
#: Bytes of a character that is not ASCII, at most.
_WIDE = 4
_SHORT = 64

Binary = Callable[[Any, Any, Budget], Any]


def whole(value: int, kind: str) -> int:
    """A whole number of 64 bits.

    Raises:
        ExpressionError: It is larger.
    """
    low, high = UINT if kind == "uint" else INT
    if not low <= value <= high:
        sign = " without a sign" if kind == "uint" else ""
        raise ExpressionError(f"the result does not fit into 64 bits{sign}")
    return Uint(value) if kind == "uint" else value


def made_of(text: str | bytes) -> int:
    """The bytes that a text takes, at most."""
    return len(text) if isinstance(text, bytes) or text.isascii() else _WIDE * len(text)


def _add(left: Any, right: Any, budget: Budget) -> Any:
    kinds = type_name(left), type_name(right)
    if kinds == ("double", "double"):
        return left + right
    if kinds in {("string", "string"), ("bytes", "bytes")}:
        budget.make(made_of(left) + made_of(right) + LIST)
        return left + right
    if kinds == ("list", "list"):
        budget.make(LIST + MEMBER * (len(left) + len(right)))
        return [*left, *right]
    if kinds in {("timestamp", "duration"), ("duration", "timestamp")}:
        return time_of(left.nanoseconds + right.nanoseconds)
    if kinds == ("duration", "duration"):
        return duration_of(left.nanoseconds + right.nanoseconds)
    return _counted(int.__add__, left, right, kinds)


def _subtract(left: Any, right: Any, _: Budget) -> Any:
    kinds = type_name(left), type_name(right)
    if kinds == ("double", "double"):
        return left - right
    if kinds == ("timestamp", "duration"):
        return time_of(left.nanoseconds - right.nanoseconds)
    if kinds in {("timestamp", "timestamp"), ("duration", "duration")}:
        return duration_of(left.nanoseconds - right.nanoseconds)
    return _counted(int.__sub__, left, right, kinds)


def _multiply(left: Any, right: Any, _: Budget) -> Any:
    kinds = type_name(left), type_name(right)
    return (
        left * right if kinds == ("double", "double") else _counted(int.__mul__, left, right, kinds)
    )


def _divide(left: Any, right: Any, _: Budget) -> Any:
    kinds = type_name(left), type_name(right)
    if kinds == ("double", "double"):
        return _quotient(left, right)
    if kinds[0] == kinds[1] and right == 0 and kinds[0] in _NUMBERS:
        raise ExpressionError("division by zero")
    return _counted(_truncated, left, right, kinds)


def _remainder(left: Any, right: Any, _: Budget) -> Any:
    kinds = type_name(left), type_name(right)
    if kinds == ("double", "double"):
        return NotImplemented
    if kinds[0] == kinds[1] and right == 0 and kinds[0] in _NUMBERS:
        raise ExpressionError("modulo by zero")
    return _counted(lambda a, b: a - b * _truncated(a, b), left, right, kinds)


def _quotient(left: float, right: float) -> float:
    """Divide as IEEE 754 does: by zero, too."""
    if right:
        return left / right
    if not left or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, math.copysign(1.0, left) * math.copysign(1.0, right))


def _truncated(left: int, right: int) -> int:
    """Divide towards zero; Python's own division goes downwards."""
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _counted(work: Callable[[int, int], int], left: Any, right: Any, kinds: tuple[str, str]) -> Any:
    if kinds[0] != kinds[1] or kinds[0] not in {"int", "uint"}:
        return NotImplemented
    return whole(work(int(left), int(right)), kinds[0])


def negative(value: Any) -> Any:
    """``-value``; NotImplemented if there is none."""
    kind = type_name(value)
    if kind == "double":
        return -value
    if kind == "duration":
        return duration_of(-value.nanoseconds)
    return whole(-value, kind) if kind == "int" else NotImplemented


# ── comparing ───────────────────────────────────────────────────────────────────────────────────


def _ordered(compare: Callable[[Any, Any], bool]) -> Binary:
    def run(left: Any, right: Any, budget: Budget) -> Any:
        one, other = type_name(left), type_name(right)
        if one in _NUMBERS and other in _NUMBERS:
            return compare(left, right)
        if one != other or one not in _ORDERED:
            return NotImplemented
        if one in {"string", "bytes"}:
            budget.read(min(len(left), len(right)) * _WIDE)
        return compare(left, right)

    return run


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | bytes) or not isinstance(value, Mapping | Sequence)


def equal(left: Any, right: Any, budget: Budget) -> bool:
    """Compare two values, however deep: numbers across types, a map whatever its order."""
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        kind = type_name(one)
        same = type_name(other) == kind or {kind, type_name(other)} <= _NUMBERS
        if not same:
            return False
        if kind == "list":
            if len(one) != len(other):
                return False
            budget.spend(2 * len(one) + 1)
            pairs += zip(one, other, strict=True)
        elif kind == "map":
            if not _same_keys(one, other):
                return False
            budget.spend(3 * len(one) + 1)
            pairs += ((item, other[key]) for key, item in one.items())
        elif not _same(one, other, budget):
            return False
    return True


def _same_keys(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
    return len(one) == len(other) and all(has_key(other, key) for key in one)


def _same(one: Any, other: Any, budget: Budget) -> bool:
    if isinstance(one, str | bytes) and len(one) == len(other):
        budget.read(len(one) * _WIDE)
    return bool(one == other)


def has_key(members: Mapping[Any, Any], key: Any) -> bool:
    """Say whether a map has a key: ``1.0`` is ``1`` and, other than to Python, ``True`` is not."""
    if isinstance(key, str):
        return key in members
    if not isinstance(key, int | float) or key not in members:
        return False
    return any(isinstance(one, bool) == isinstance(key, bool) for one in members if one == key)


def contains(member: Any, of: Any, budget: Budget) -> Any:
    """``member in of``: a member of a list, a key of a map."""
    kind = type_name(of)
    if kind == "map":
        return has_key(of, member)
    if kind != "list":
        return NotImplemented
    if not _is_scalar(member):
        return any(equal(member, one, budget) for one in _counted_members(of, budget))
    budget.spend(len(of) // 8 + 1)
    if isinstance(member, str | bytes):
        return _is_among(member, of, budget)
    return any(equal(member, one, budget) for one in of if _is_scalar(one))


def _is_among(member: str | bytes, of: Sequence[Any], budget: Budget) -> bool:
    if len(member) <= _SHORT:
        budget.read(len(of) * len(member) * _WIDE)
        return member in of
    return any(_same(member, one, budget) for one in of)


def _counted_members(of: Sequence[Any], budget: Budget) -> Any:
    for one in of:
        budget.spend(1)
        yield one


BINARY: Final[Mapping[str, Binary]] = {
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "%": _remainder,
    "<": _ordered(lambda a, b: a < b),
    "<=": _ordered(lambda a, b: a <= b),
    ">": _ordered(lambda a, b: a > b),
    ">=": _ordered(lambda a, b: a >= b),
    "==": equal,
    "!=": lambda left, right, budget: not equal(left, right, budget),
    "in": contains,
}
