"""The results of expressions: CEL's values as plain ones.

In: what an expression came to. Out: plain values, copied, so that nobody who changes what he is
given changes what others read. Times become RFC 3339 in UTC, durations ``90s``; bytes stay bytes;
keys become texts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flowcore.errors import ExpressionError
from flowcore.expr.arithmetic import ENTRY, LIST, MAP, MEMBER, made_of
from flowcore.expr.budget import Budget
from flowcore.expr.paths import short
from flowcore.expr.times import write
from flowcore.expr.values import CelType, Duration, Timestamp, Uint

__all__ = ["copied", "plain"]

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
#: Bytes of a text that is looked at twice.
_LONG = 64


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
        self._seen: set[int] = set()

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
                self._budget.make(made_of(value))
            self._seen.add(id(value))
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
