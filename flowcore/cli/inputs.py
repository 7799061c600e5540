"""A run's input as it is typed on the command line.

In: the words of ``-i``, and what the flow declares. Out: plain data. Not here: the rules for inputs
(engine.runs.inputs).
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from flowcore.cli.files import read_text
from flowcore.errors import UsageError
from flowcore.graph.json_schema import value_problems

__all__ = ["parse_input", "parse_map"]

_PAIR = re.compile(r"([^\W\d][\w.-]*)=(.*)", re.DOTALL)
_SHOWN = 80
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def parse_input(words: Sequence[str], declared: Mapping[str, Any] = _NOTHING) -> Any:
    """Read the ``-i`` options.

    Args:
        words: Each JSON, ``@file`` with JSON (``@-``: stdin), or ``key=value``. The value is JSON
            if it parses and text otherwise; of an input that is declared as text it is the text
            that was typed. Maps are merged, the later one wins.
        declared: JSON Schema of each input, by name.

    Returns:
        The run's input; None when nothing was given.

    Raises:
        UsageError: Something is not JSON, cannot be read, or cannot be merged.
    """
    parts = [_part(word, declared) for word in words]
    if len(parts) <= 1:
        return parts[0] if parts else None
    if bad := [word for word, part in zip(words, parts, strict=True) if not isinstance(part, dict)]:
        msg = f"several -i are merged by name, so {bad[0]!r} has to be a JSON object or key=value"
        raise UsageError(msg)
    return {key: value for part in parts for key, value in part.items()}


def parse_map(words: Sequence[str], *, what: str) -> dict[str, Any]:
    """Read ``-i`` options that have to come to a map; an empty one when nothing was given.

    Args:
        words: As for ``parse_input``.
        what: What they are, for the error.

    Raises:
        UsageError: They are no map, or cannot be read.
    """
    value = parse_input(words)
    if value is not None and not isinstance(value, dict):
        raise UsageError(f"{what} is a map: give it as key=value or as a JSON object")
    return value or {}


def _part(word: str, declared: Mapping[str, Any]) -> Any:
    if word.startswith("@"):
        return _json(read_text(word[1:], what="the input file"), f"-i {_cut(word)}")
    if pair := _PAIR.fullmatch(word):
        return {pair[1]: _typed(pair[2], declared.get(pair[1]))}
    return _json(word, f"-i {_cut(word)!r}")


def _cut(word: str) -> str:
    return word if len(word) <= _SHOWN else f"{word[:_SHOWN]}…"


def _typed(text: str, schema: object) -> Any:
    """Read a value that was typed: JSON where it parses and the schema takes it, else the text."""
    try:
        value = _strict(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(schema, Mapping) or not value_problems(schema, value, name="it"):
        return value
    if not value_problems(schema, text, name="it"):
        return text
    # Neither fits: the problem to show is that of the kind of value that is wanted.
    wanted = {"type": schema["type"]} if "type" in schema else {}
    return text if value_problems(wanted, value, name="it") and "string" in str(wanted) else value


def _json(text: str, what: str) -> Any:
    try:
        return _strict(text)
    except (ValueError, RecursionError) as error:
        msg = f"{what} is not JSON ({error}); write -i '{{\"key\": 1}}', -i key=1 or -i @file.json"
        raise UsageError(msg) from error


def _strict(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _refuse_constant(digits)
