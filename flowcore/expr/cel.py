"""CEL expressions: compile once, evaluate on plain data.

In: the text of an expression, a mapping of names to JSON values. Out: a JSON value.
Not here: text with expressions in it (template). This module is the only one that knows which
CEL implementation is used: the Rust one of ``common-expression-language``. It sees copies of plain
data; no Python object, attribute or function is ever within its reach, but for ``size`` of ours.
"""

import base64
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache
from importlib import import_module
from itertools import pairwise
from typing import Any

from flowcore.errors import ExpressionError
from flowcore.expr.explain import explain, reason_of
from flowcore.expr.paths import as_path, follow
from flowcore.expr.scan import (
    INPUTS,
    ExpressionSyntaxError,
    Scan,
    Token,
    is_root,
    scan,
)
from flowcore.expr.tree import Part, parse
from flowcore.types import Json

__all__ = ["INPUTS", "Expression", "ExpressionSyntaxError", "compile_expression"]

#: Seconds that the loops of one expression may take, as far as can be told beforehand.
MAX_SECONDS = 5.0

#: Members above which nobody counts on.
_MANY = 10_000_000

_PLAIN_PATH = re.compile(
    r"\s{0,99}([A-Za-z_][A-Za-z0-9_]{0,99})((?:\.[A-Za-z_][A-Za-z0-9_]{0,99}){0,30})\s{0,99}"
)
#: Our ``size`` in what the library compiles; as long, so that places stay, and nobody's own name.
_OUR_SIZE = "_siz"
_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")


class _LoopsTooLongError(ExpressionError):
    """Not even a part of it is to be evaluated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A compiled expression."""

    text: str
    places: Mapping[str, int]
    """Every name it reads, with the offset in ``text`` where it first stands."""
    keyed: frozenset[str]
    """Those of the names that are spelled ``nodes["name"]``."""
    inputs: Mapping[str, int]
    """The inputs that it reads by name, each with its offset."""
    run: Callable[[Mapping[str, Json]], object]
    is_path: bool
    """Whether it is no more than a name with keys and numbers after it."""

    @property
    def names(self) -> frozenset[str]:
        """The names it reads: ``inputs`` and ids of nodes, however they are spelled."""
        return frozenset(self.places)

    @property
    def node_refs(self) -> frozenset[str]:
        """The ids of nodes it reads."""
        return self.names - {INPUTS}

    def evaluate(self, context: Mapping[str, Json]) -> Json:
        """Evaluate on plain data.

        Args:
            context: ``inputs``, and for each node ``{"output": ..., "state": ...}`` by its id.
                Names that the expression does not read are not looked at.

        Returns:
            A plain JSON value: bytes become base64, times RFC 3339, durations ``90s``.

        Raises:
            ExpressionError: A name or key is missing, types do not fit, or the result is not
                JSON.
        """
        try:
            return _plain(self.run(context))
        except _LoopsTooLongError as error:
            raise ExpressionError(f"{self.text.strip()}: {error}") from None
        except Exception as error:
            why = _why(self.text, context) or reason_of(error)
            raise ExpressionError(f"{self.text.strip()}: {why}") from error


@lru_cache(maxsize=8192)
def compile_expression(text: str) -> Expression:
    """Compile an expression; the same text gives the same object.

    Args:
        text: CEL, at most 4,096 characters, 32 brackets deep, with at most two loops inside each
            other.

    Returns:
        The compiled expression.

    Raises:
        ExpressionSyntaxError: It is not CEL, or exceeds a limit; an ``ExpressionError`` with the
            offset.
    """
    plain = _PLAIN_PATH.fullmatch(text)
    if plain is not None and is_root(plain[1]):
        return _plain_path(text, plain)
    tokens, found = scan(text)
    steps = as_path(tokens)
    run = follow(*steps) if steps else _program(text, tokens, found)
    # In the order of the text, so that problems are reported in it.
    both = sorted({**found.keyed, **found.roots}.items(), key=lambda item: item[1])
    return Expression(
        text=text,
        places=dict(both),
        keyed=frozenset(found.keyed),
        inputs=found.inputs,
        run=run,
        is_path=steps is not None,
    )


def _plain_path(text: str, match: re.Match[str]) -> Expression:
    """Compile what most expressions are, without reading it word by word."""
    root, rest = match[1], match[2]
    steps = rest.split(".")[1:]
    return Expression(
        text=text,
        places={root: match.start(1)},
        keyed=frozenset(),
        inputs={steps[0]: match.start(2) + 1} if root == INPUTS and steps else {},
        run=follow(root, steps),
        is_path=True,
    )


@cache
def _library() -> Any:
    """Load the library when an expression needs it.

    Its package imports a whole command line, a fifth of a second, and most expressions are plain
    paths, which do without it.
    """
    # It logs what goes wrong in a function of ours, which is raised as well.
    logging.getLogger("cel").setLevel(logging.ERROR)
    return import_module("cel")


def _program(
    text: str, tokens: Sequence[Token], found: Scan
) -> Callable[[Mapping[str, Json]], object]:
    counted = _counting(text, tokens)
    try:
        program = _library().compile(counted)
    except ValueError as error:
        raise _syntax_error(text, str(error).replace(_OUR_SIZE, "size")) from None

    def run(context: Mapping[str, Json]) -> object:
        variables = _variables(context, found)
        if found.loops:
            _check_steps(variables, found)
        result: object = program.execute(variables if counted is text else _sized(variables))
        return result

    return run


def _variables(context: Mapping[str, Json], found: Scan) -> dict[str, object]:
    """What is read of a context; a name in a branch that is not taken may be absent."""
    variables: dict[str, object] = {name: context[name] for name in found.roots if name in context}
    if found.keyed:
        variables["nodes"] = {name: context[name] for name in found.keyed if name in context}
    return variables


def _why(text: str, context: Mapping[str, Json]) -> str:
    """Say why an expression failed, and at which of the characters that are shown of it."""
    tokens, found = scan(text)
    counted, variables = _counting(text, tokens), _variables(context, found)
    compiled: dict[tuple[int, int], Any] = {}

    def evaluate(part: Part, bound: Mapping[str, object]) -> object:
        place = part.start, part.end
        if place not in compiled:
            compiled[place] = _library().compile(counted[part.start : part.end])
        return compiled[place].execute(_sized({**variables, **bound}))

    try:
        reason = explain(parse(tokens), evaluate)
    except (ValueError, RecursionError):
        return ""
    if reason is None:
        return ""
    return f"{reason.words} (at character {reason.at - tokens[0].offset + 1})"


def _counting(text: str, tokens: Sequence[Token]) -> str:
    """Have ``size`` count the characters of a text, as CEL has it: the library counts bytes.

    A function of one of its own names it would not call, hence another name.
    """
    for token, after in pairwise(tokens):
        if token.text == "size" and after.text == "(":
            text = text[: token.offset] + _OUR_SIZE + text[token.offset + len(_OUR_SIZE) :]
    return text


def _sized(variables: dict[str, object]) -> Any:
    return _library().Context(variables=variables, functions={_OUR_SIZE: _size})


def _size(value: Any) -> int:
    if isinstance(value, str | bytes | list | tuple | Mapping):
        return len(value)
    msg = "no such overload"  # as the library says
    raise TypeError(msg)


def _check_steps(variables: object, found: Scan) -> None:
    """Refuse loops that would take too long: an expression that runs cannot be stopped.

    Measured on the library: a step takes a microsecond, and ``map`` and ``filter`` copy what they
    have so far at each of theirs, 30 ns a member. So they take the square of a list's length.
    """
    longest = _longest(variables)
    seconds = 30e-9 * longest ** (found.loops + 1) if found.builds else 1e-6 * longest**found.loops
    if seconds > MAX_SECONDS:
        msg = (
            f"its loops over up to {longest:,} members would take about {seconds:,.0f} s; "
            "do it in a function"
        )
        raise _LoopsTooLongError(msg)


def _longest(value: object) -> int:
    """The members of the longest list or map in a value, looked for until it is too long."""
    longest, stack = 0, [value]
    while stack and longest <= _MANY:
        one = stack.pop()
        if isinstance(one, Mapping):
            longest = max(longest, len(one))
            stack.extend(one.values())
        elif isinstance(one, list | tuple):
            longest = max(longest, len(one))
            # A list of plain values holds nothing longer, and is most of what is long.
            stack.extend(item for item in one if isinstance(item, Mapping | list | tuple))
    return longest


def _syntax_error(text: str, report: str) -> ExpressionSyntaxError:
    """Take the first complaint that says something, without the parser's vocabulary."""
    found = [match for match in _ERROR.finditer(report) if "Incomplete" not in match[3]]
    if not found:
        return ExpressionSyntaxError("not a CEL expression", 0)
    line, column, message = found[0].groups()
    before = text.split("\n")[: int(line) - 1]
    offset = sum(len(part) + 1 for part in before) + int(column) - 1
    reason = message.removeprefix("Syntax error: ").split(" expecting ")[0]
    reason = reason.replace("mismatched input", "unexpected").replace(
        "extraneous input", "unexpected"
    )
    reason = reason.replace("unexpected '<EOF>'", "the expression ends too early")
    reason = reason.replace(" at '<EOF>'", " at the end")
    return ExpressionSyntaxError(reason, min(offset, len(text)))


# ── Results ─────────────────────────────────────────────────────────────────────────────────────


def _plain(value: object) -> Json:
    """Turn a CEL value into a JSON value (as protobuf's JSON mapping does)."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise ExpressionError(f"the result is {value}, which JSON cannot hold")
    if isinstance(value, Mapping):
        # CEL's maps have no order: sort, so that equal results are equal texts.
        return {_key(key): _plain(value[key]) for key in sorted(value, key=_key)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _special(value)


def _key(key: object) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)


def _special(value: object) -> Json:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    raise ExpressionError(f"the result, of type {type(value).__name__}, has no JSON form")
