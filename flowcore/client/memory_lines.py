"""Exported threads as lines of text, which read back equal.

In: what ``export_threads`` gives. Out: JSON, one thread a line, and the same again. Not here: where
threads are kept (memory), JSON for people and programs (json_text).

JSON has no bytes, no NaN and no infinity. In these lines, ``{"$bytes": "/w=="}`` and ``{"$float":
"nan"}`` stand for them; a map that looks like one of these is written as ``{"$map": {…}}``.
"""

import base64
import binascii
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from flowcore.errors import UsageError

__all__ = ["thread_line", "thread_lines"]

_BYTES, _FLOAT, _MAP = "$bytes", "$float", "$map"
_MARKS = frozenset({_BYTES, _FLOAT, _MAP})


def thread_line(thread: Mapping[str, Any]) -> str:
    """Write a thread as one line, without its end."""
    return json.dumps(_written(thread), ensure_ascii=False, allow_nan=False)


def thread_lines(text: str, *, name: str) -> Iterator[Any]:
    """Read lines that ``thread_line`` wrote.

    Args:
        text: The lines; empty ones are passed over.
        name: How errors name them, such as a path.

    Raises:
        UsageError: A line is no JSON, or something in it stands for nothing.
    """
    # Texts may hold ends of lines of other scripts, which JSON does not escape.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield _read(json.loads(line))
            except RecursionError:
                msg = f"{name}:{number}: this is nested too deeply"
                raise UsageError(msg) from None
            except ValueError as error:
                raise UsageError(f"{name}:{number}: this is not JSON: {error}") from error


def _written(value: Any) -> Any:
    if isinstance(value, Mapping):
        made = {key: _written(item) for key, item in value.items()}
        return {_MAP: made} if _is_mark(made) else made
    if isinstance(value, list | tuple):
        return [_written(item) for item in value]
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode("ascii")}
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}
    return value


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return [_read(item) for item in value]
    if not isinstance(value, dict):
        return value
    if not _is_mark(value):
        return {key: _read(item) for key, item in value.items()}
    ((mark, of),) = value.items()
    if mark == _MAP and isinstance(of, dict):
        return {key: _read(item) for key, item in of.items()}
    if mark == _BYTES and isinstance(of, str):
        try:
            return base64.b64decode(of, validate=True)
        except binascii.Error as error:
            msg = f"'{_BYTES}' is of base64: {error}"
            raise ValueError(msg) from None
    if mark == _FLOAT and of in ("nan", "inf", "-inf"):
        return float(of)
    msg = f"'{mark}' cannot be of {str(of)[:40]!r}"
    raise ValueError(msg)


def _is_mark(value: Mapping[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)) in _MARKS
