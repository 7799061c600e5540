"""Numbers of settings, each within its bounds.

In: the text of a variable. Out: a number, or ``ValueError`` with the phrase that says what is
accepted. Not here: which setting has which bounds (settings).

Every bound is well within what Redis, Lua, msgpack and the operating system's timers can count:
what is accepted here works.
"""

import math
import re
from collections.abc import Callable

from flowcore.types import LONGEST

__all__ = ["LARGEST", "count", "number", "seconds", "seconds_up_to"]

#: Bytes of one value that msgpack and all payload stores can carry.
LARGEST = 2**32 - 1

_SHORTEST = 0.001
_PLAIN = re.compile(r"[0-9.eE+-]+")
#: Digits of the largest number that is read at all: Python refuses to read very many.
_DIGITS = 18


def seconds(value: str) -> float:
    """Read a number of seconds."""
    accepted = "a number of seconds greater than 0, such as 2.5 (from 0.001 to 100 years)"
    try:
        found = float(value)
    except ValueError:
        raise ValueError(accepted) from None
    if not (_PLAIN.fullmatch(value) and math.isfinite(found) and _SHORTEST <= found <= LONGEST):
        raise ValueError(accepted)
    return found


def seconds_up_to(limit: float, why: str) -> Callable[[str], float]:
    """Return a reader of seconds with a bound of its own.

    Args:
        limit: The longest time, in seconds.
        why: What the bound is, such as ``half of FLOWCORE_LEASE``.
    """

    def parse(value: str) -> float:
        found = seconds(value)
        if found > limit:
            raise ValueError(f"at most {why}, here {limit:g} seconds")
        return found

    return parse


def count(most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from 1 to ``most``."""
    return _whole(1, most)


def number(most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from 0 to ``most``."""
    return _whole(0, most)


def _whole(least: int, most: int) -> Callable[[str], int]:
    accepted = f"a whole number of at least {least}, at most {most:,}, written with digits only"

    def parse(value: str) -> int:
        digits = value.lstrip("0") or "0"
        if not (value.isascii() and value.isdecimal() and len(digits) <= _DIGITS):
            raise ValueError(accepted)
        if not least <= int(digits) <= most:
            raise ValueError(accepted)
        return int(digits)

    return parse
