"""Paths such as ``fetch.output.items[0]``: most expressions, read without copying their data.

In: tokens, a mapping of names to JSON values. Out: the value at the end of the path.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from flowcore.errors import ExpressionError
from flowcore.expr.scan import LITERALS, Token
from flowcore.types import Json

__all__ = ["as_path", "follow", "get", "select", "short"]

#: Characters of a key in an error.
_SHOWN = 60


def as_path(tokens: Sequence[Token]) -> tuple[str, list[str | int], bool] | None:
    """Read a path: its root, its steps, whether the root is a key of ``nodes``; None: no path."""
    if tokens[0].kind != "name" or tokens[0].text in LITERALS:
        return None
    steps: list[str | int] = []
    at = 1
    while at < len(tokens):
        step, at = _step(tokens, at)
        if step is None:
            return None
        steps.append(step)
    if tokens[0].text != "nodes":
        return (tokens[0].text, steps, False) if steps or len(tokens) == 1 else None
    return str(steps[0]), steps[1:], True


def _step(tokens: Sequence[Token], at: int) -> tuple[str | int | None, int]:
    sign, word = tokens[at].text, tokens[at + 1 : at + 3]
    if sign == "." and word and word[0].kind == "name" and word[0].text not in LITERALS:
        return word[0].text, at + 2
    if sign == "." and word and word[0].kind == "quoted":
        return word[0].text[1:-1], at + 2
    if sign != "[" or len(word) < 2 or word[1].text != "]":  # noqa: PLR2004  (a key and a bracket)
        return None, at
    key = word[0].text
    if word[0].kind == "string" and key[0] in "\"'" and "\\" not in key and key[1:2] != key[0]:
        return key[1:-1], at + 3
    return (int(key), at + 3) if word[0].kind == "number" and key.isdecimal() else (None, at)


def follow(
    root: str, steps: Sequence[str | int], *, keyed: bool = False
) -> Callable[[Mapping[str, Json]], object]:
    """Make what reads a path."""

    def run(context: Mapping[str, Json]) -> object:
        value = get(context, root, keyed=keyed)
        for step in steps:
            value = select(value, step)
        return value

    return run


def get(context: Mapping[str, Json], name: str, *, keyed: bool = False) -> Json:
    """The value of a name; ``keyed``, of the node that has it (``nodes["index"]``).

    Raises:
        ExpressionError: There is none yet.
    """
    if keyed:
        nodes = context.get("nodes", context)
        context = nodes if isinstance(nodes, Mapping) else {}
    if name not in context:
        raise ExpressionError(f"'{name}' is not available here")
    return context[name]


def short(key: object) -> str:
    """A key or a text for people: whole, or not at all, so that a secret can be hidden in it."""
    if isinstance(key, str | bytes):
        what = "text" if isinstance(key, str) else "bytes"
        return repr(key) if len(key) <= _SHOWN else f"a {what} of {len(key):,} characters"
    is_plain = key is None or isinstance(key, int | float)
    return repr(key) if is_plain else f"a {type(key).__name__}"


def _place(step: object) -> int | None:
    """The place in a list that a whole number of any of CEL's types is; None for anything else."""
    if isinstance(step, float) and step.is_integer():
        return int(step)
    return step if isinstance(step, int) and not isinstance(step, bool) else None


def select(value: object, step: object) -> Json:
    """The value under a key or a number.

    Raises:
        ExpressionError: There is none.
    """
    if isinstance(value, Mapping) and isinstance(step, str):
        if step in value:
            return cast("Json", value[step])
        raise ExpressionError(f"there is no key {short(step)}")
    place = _place(step)
    if place is not None and isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if 0 <= place < len(value):
            return cast("Json", value[place])
        raise ExpressionError(f"there is no item {place}: the list has {len(value)}")
    what = "text" if isinstance(value, str) else "null" if value is None else type(value).__name__
    raise ExpressionError(f"cannot take {short(step)} of {what}")
