"""The results of expressions: CEL's values as plain ones.

In: what an expression came to. Out: plain values, copied, so that nobody who changes what he is
given changes what others read. Times become RFC 3339 in UTC, durations ``90s``; bytes stay bytes;
keys become texts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flowcore.errors import ExpressionError
from flowcore.expr.arithmetic import ENTRY, LIST, MAP, MEMBER
from flowcore.expr.budget import Budget
from flowcore.expr.paths import short
from flowcore.expr.times import write
from flowcore.expr.values import CelType, Duration, Timestamp, Uint

__all__ = ["copied", "is_small", "plain", "shared"]

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
#: Bytes of a text that is looked at twice.
_LONG = 64
#: What a list or a map takes beside its members, as text.
_SMALL = 9


def is_small(value: Any) -> bool:
    """Say whether a value needs no copy, and no count however often it is read."""
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value) <= _LONG
    return kind in _SCALARS


def copied(value: Any) -> Any:
    """Copy what was read of the data: it is plain already, but for classes of lists and maps."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, Mapping):
        made = {}
        for key, item in value.items():
            made[key] = item if type(item) in _SCALARS else copied(item)
        return made
    if isinstance(value, list | tuple):
        items = []
        for item in value:
            items.append(item if type(item) in _SCALARS else copied(item))  # noqa: PERF401  (one frame a level)
        return items
    return _special(value)


def shared(value: Any, budget: Budget) -> Any:
    """Copy what was read of the data once for all expressions that have a budget.

    Whoever stores what they give writes a value as often as it is there: each time but the first
    is taken from the budget.
    """
    copies = budget.copies
    return copied(value) if copies is None else _shared(value, budget, copies)[0]


def _shared(value: Any, budget: Budget, copies: dict[int, tuple[Any, int]]) -> tuple[Any, int]:
    if is_small(value):
        return value, _LONG if isinstance(value, str | bytes) else _SMALL
    is_text = isinstance(value, str | bytes)
    known = copies.get(id(value))
    if known is not None:
        budget.make(known[1])
        return known
    size = len(value) if is_text else _SMALL
    made: Any = value
    if isinstance(value, Mapping):
        made = {}
        for key, item in value.items():
            made[key], more = _shared(item, budget, copies)
            size += more + len(key)
    elif isinstance(value, list | tuple):
        made = []
        for item in value:
            one, more = _shared(item, budget, copies)
            made.append(one)
            size += more
    elif not is_text:
        made = _special(value)
    copies[id(value)] = made, size
    return made, size


def plain(value: Any, budget: Budget) -> Any:
    """Copy what an expression made.

    Raises:
        ExpressionError: It has no plain form, two of its keys become one text, or the whole is
            more than the budget has left, as a large text that stands in it a thousand times.
    """
    return _Copy(budget).of(value)


class _Copy:
    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        # With the text, so that its place in memory is not given to another one.
        self._seen = {} if budget.copies is None else budget.copies

    def of(self, value: Any) -> Any:
        if isinstance(value, str | bytes):
            return self._text(value)
        if type(value) in _SCALARS:
            return value
        if isinstance(value, Mapping):
            return self._map(value)
        if isinstance(value, list | tuple):
            self._budget.spend(len(value))
            self._budget.make(LIST + MEMBER * len(value))
            items = []
            for item in value:
                items.append(self.of(item))  # noqa: PERF401  (one frame a level)
            return items
        return _special(value)

    def _map(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        self._budget.spend(len(value))
        self._budget.make(MAP + ENTRY * len(value))
        made: dict[str, Any] = {}
        for key, item in value.items():
            name = key if isinstance(key, str) else _key(key)
            if name in made:
                raise ExpressionError(f"two keys of the result are both {short(name)} as text")
            made[name] = self.of(item)
        return made

    def _text(self, value: str | bytes) -> str | bytes:
        """A text is not copied; but whoever stores the result writes it as often as it is there."""
        if len(value) > _LONG:
            if id(value) in self._seen:
                self._budget.make(len(value))
            self._seen[id(value)] = value, len(value)
        return value


def _key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _special(value: object) -> Any:
    if isinstance(value, Timestamp | Duration):
        return write(value)
    if isinstance(value, CelType):
        return value.name
    if isinstance(value, Uint):
        return int(value)
    if isinstance(value, bool | int | float | str | bytes):
        return value
    if isinstance(value, Sequence):
        return [copied(item) for item in value]
    raise ExpressionError(f"the result, of type {type(value).__name__}, has no plain form")
