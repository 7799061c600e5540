"""Functions of expressions: ``size``, conversions, looking into texts, parts of times.

In: values and the budget. Out: a value; NotImplemented where CEL has no such function for them.
Not here: macros that go over lists and maps (loops), operators (arithmetic). No function of
Python's is ever within an expression's reach but for these.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, NamedTuple

from flowcore.errors import ExpressionError
from flowcore.expr.arithmetic import LIST, made_of, whole
from flowcore.expr.budget import Budget
from flowcore.expr.times import SECOND, moment, read_duration, read_time, time_of, write
from flowcore.expr.values import INT, CelType, Duration, Timestamp, type_name

__all__ = ["FUNCTIONS", "TYPES", "Function"]

_WHOLE = re.compile(r"[-+]?[0-9]+", re.ASCII)
_DOUBLE = re.compile(
    r"[-+]?(?:[0-9]+\.?[0-9]*(?:e[-+]?[0-9]+)?|\.[0-9]+(?:e[-+]?[0-9]+)?|inf(?:inity)?|nan)",
    re.ASCII | re.IGNORECASE,
)
#: Texts of truth and falsehood, as the definition of CEL lists them.
_BOOLS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("1", "t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("0", "f", "F", "false", "False", "FALSE"), False),
}
_LONGEST_NUMBER = 1_000
_LONGEST_PATTERN = 10_000
#: What a program of RE2 may take, in bytes; and how many of its instructions, each tried on a byte
#: of the text, count as a step.
_PROGRAM = 2**20
_TRIED_PER_STEP = 50
#: Instructions that are made in the time of a step.
_MADE_PER_STEP = 4
#: Steps of reading a time, or of looking one up in a zone.
_TIME = 20

#: The types that an expression can name.
TYPES: Final[Mapping[str, CelType]] = {
    **{
        name: CelType(name)
        for name in ("bool", "bytes", "double", "int", "list", "map", "null_type", "string")
    },
    "uint": CelType("uint"),
    "type": CelType("type"),
    "timestamp": CelType("google.protobuf.Timestamp"),
    "duration": CelType("google.protobuf.Duration"),
}


class Function(NamedTuple):
    """A function, and how it may be called."""

    run: Callable[..., Any]
    """Takes the budget and the values."""
    of: tuple[int, ...]
    """How many values it takes, with that before the point."""
    method: bool
    """It may be called as ``value.name()``."""
    free: bool
    """It may be called as ``name(value)``."""
    cost: int = 1
    """Steps of one call, beside those that depend on the size of its values."""


def _size(_: Budget, value: Any) -> Any:
    return len(value) if type_name(value) in {"string", "bytes", "list", "map"} else NotImplemented


def _on_texts(work: Callable[[str, str], bool]) -> Callable[[Budget, Any, Any], Any]:
    def run(budget: Budget, text: Any, part: Any) -> Any:
        if type_name(text) != "string" or type_name(part) != "string":
            return NotImplemented
        budget.read(made_of(text) + made_of(part))
        return work(text, part)

    return run


def _matches(budget: Budget, text: Any, pattern: Any) -> Any:
    if type_name(text) != "string" or type_name(pattern) != "string":
        return NotImplemented
    if len(pattern) > _LONGEST_PATTERN:
        raise ExpressionError(f"a pattern has at most {_LONGEST_PATTERN:,} characters")
    budget.spend(len(pattern))
    program = _pattern(pattern)
    budget.spend(program.programsize // _MADE_PER_STEP)  # another one for each member, perhaps
    # Linear in the text for any pattern, but as often as the pattern has places at worst.
    budget.spend(made_of(text) * program.programsize // _TRIED_PER_STEP + 1)
    return program.search(text) is not None


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> Any:
    """Compile a pattern for RE2, which never goes back: CEL's own choice."""
    re2 = import_module("re2")
    options = re2.Options()
    options.max_mem = _PROGRAM
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        why = error.args[0] if error.args else ""
        said = why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)
        # Without the part of the pattern that it tells: what is data may be nobody's business.
        raise ExpressionError(f"it is not a pattern of RE2: {said.partition(':')[0]}") from None


# ── conversions ─────────────────────────────────────────────────────────────────────────────────


def _to_int(_: Budget, value: Any) -> Any:
    return _to_whole(value, "int")


def _to_uint(_: Budget, value: Any) -> Any:
    return _to_whole(value, "uint") if type_name(value) != "timestamp" else NotImplemented


def _to_whole(value: Any, kind: str) -> Any:
    given = type_name(value)
    if given in {"int", "uint"}:
        return whole(int(value), kind)
    if given == "timestamp":
        return value.nanoseconds // SECOND
    if given == "double":
        if not math.isfinite(value):
            raise ExpressionError("a number that is not finite is not a whole number")
        if kind == "int" and value == INT[0]:
            raise ExpressionError("the result does not fit into 64 bits")  # as CEL has it
        return whole(int(value), kind)
    if given != "string":
        return NotImplemented
    if len(value) > _LONGEST_NUMBER or not _WHOLE.fullmatch(value):
        raise ExpressionError("the text is not a whole number")
    return whole(int(value), kind)


def _to_double(_: Budget, value: Any) -> Any:
    kind = type_name(value)
    if kind in {"int", "uint", "double"}:
        return float(value)
    if kind != "string":
        return NotImplemented
    if len(value) > _LONGEST_NUMBER or not _DOUBLE.fullmatch(value):
        raise ExpressionError("the text is not a number")
    return float(value)


def _to_bool(_: Budget, value: Any) -> Any:
    kind = type_name(value)
    if kind == "bool":
        return value
    if kind != "string":
        return NotImplemented
    if value not in _BOOLS:
        raise ExpressionError("the text is neither true nor false")
    return _BOOLS[value]


def _to_string(budget: Budget, value: Any) -> Any:
    kind = type_name(value)
    if kind == "string":
        return value
    if kind == "bytes":
        budget.make(4 * len(value) + LIST)
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise ExpressionError("the bytes are not UTF-8 text") from None
    if kind not in {"int", "uint", "double", "bool", "timestamp", "duration"}:
        return NotImplemented
    budget.make(2 * LIST)
    return write(value) if kind in {"timestamp", "duration"} else _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    return "NaN" if math.isnan(value) else repr(float(value)).removesuffix(".0")


def _to_bytes(budget: Budget, value: Any) -> Any:
    kind = type_name(value)
    if kind == "bytes":
        return value
    if kind != "string":
        return NotImplemented
    budget.make(made_of(value) + LIST)
    return value.encode()


def _to_time(_: Budget, value: Any) -> Any:
    kind = type_name(value)
    if kind == "string":
        return read_time(value)
    if kind == "int":
        return time_of(value * SECOND)
    return value if kind == "timestamp" else NotImplemented


def _to_duration(_: Budget, value: Any) -> Any:
    kind = type_name(value)
    if kind == "string":
        return read_duration(value)
    return value if kind == "duration" else NotImplemented


def _type(_: Budget, value: Any) -> Any:
    name = "null_type" if value is None else type_name(value)
    return TYPES.get(name, NotImplemented)


# ── parts of times ──────────────────────────────────────────────────────────────────────────────


def _part_of(
    part: Callable[[datetime], int], unit: int | None = None
) -> Callable[[Budget, Any, Any], Any]:
    """A part of a time; of a duration, if a unit is given, all of it in that unit."""

    def run(_: Budget, value: Any, zone: Any = None) -> Any:
        if isinstance(value, Timestamp) and (zone is None or isinstance(zone, str)):
            return part(moment(value, zone))
        if isinstance(value, Duration) and unit is not None and zone is None:
            amount = abs(value.nanoseconds) // unit
            return -amount if value.nanoseconds < 0 else amount
        return NotImplemented

    return run


def _milliseconds(budget: Budget, value: Any, zone: Any = None) -> Any:
    """The part below a second: of a duration, too."""
    if isinstance(value, Duration) and zone is None:
        amount = abs(value.nanoseconds) % SECOND // (SECOND // 1000)
        return -amount if value.nanoseconds < 0 else amount
    return _part_of(lambda time: time.microsecond // 1000)(budget, value, zone)


def _method(run: Callable[..., Any], *of: int, cost: int = 1) -> Function:
    return Function(run, of, method=True, free=False, cost=cost)


def _free(run: Callable[..., Any], cost: int = 1) -> Function:
    return Function(run, (1,), method=False, free=True, cost=cost)


def _time(part: Callable[[datetime], int], unit: int | None = None) -> Function:
    return _method(_part_of(part, unit), 1, 2, cost=_TIME)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "size": Function(_size, (1,), method=True, free=True),
    "contains": _method(_on_texts(lambda text, part: part in text), 2),
    "startsWith": _method(_on_texts(str.startswith), 2),
    "endsWith": _method(_on_texts(str.endswith), 2),
    "matches": Function(_matches, (2,), method=True, free=True, cost=10),
    "bool": _free(_to_bool),
    "int": _free(_to_int),
    "uint": _free(_to_uint),
    "double": _free(_to_double),
    "string": _free(_to_string, cost=4),
    "bytes": _free(_to_bytes),
    "timestamp": _free(_to_time, cost=_TIME),
    "duration": _free(_to_duration, cost=2 * _TIME),
    "type": _free(_type),
    "dyn": _free(lambda _, value: value),
    "getFullYear": _time(lambda time: time.year),
    "getMonth": _time(lambda time: time.month - 1),
    "getDate": _time(lambda time: time.day),
    "getDayOfMonth": _time(lambda time: time.day - 1),
    "getDayOfWeek": _time(lambda time: time.isoweekday() % 7),
    "getDayOfYear": _time(lambda time: time.timetuple().tm_yday - 1),
    "getHours": _time(lambda time: time.hour, 3600 * SECOND),
    "getMinutes": _time(lambda time: time.minute, 60 * SECOND),
    "getSeconds": _time(lambda time: time.second, SECOND),
    "getMilliseconds": _method(_milliseconds, 1, 2, cost=_TIME),
}
