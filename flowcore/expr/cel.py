"""CEL expressions: compile once, evaluate on plain data.

In: the text of an expression, a mapping of names to plain values. Out: a plain value. Not here:
text with expressions in it (template), the grammar (scan, tree), what parts do (evaluation, loops).

An evaluator of our own: of the libraries, none counts its work, so that none can be held to a
budget; maps of theirs come in an order of chance, and durations lose digits (decision 0036). The
expression sees plain data; no Python object, attribute or function is ever within its reach.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from flowcore.errors import ExpressionError
from flowcore.expr.budget import Budget
from flowcore.expr.frame import Frame, MisfitError
from flowcore.expr.loops import compile_tree
from flowcore.expr.paths import as_path, follow
from flowcore.expr.results import copied, is_small, plain, shared
from flowcore.expr.scan import (
    INPUTS,
    LITERALS,
    ExpressionSyntaxError,
    Token,
    is_root,
    scan,
)
from flowcore.expr.tree import parse
from flowcore.types import Json

__all__ = ["INPUTS", "Expression", "ExpressionSyntaxError", "compile_expression"]

_PLAIN_PATH = re.compile(
    r"\s{0,99}([A-Za-z_][A-Za-z0-9_]{0,99})((?:\.[A-Za-z_][A-Za-z0-9_]{0,99}){0,30})\s{0,99}"
)

#: Works an expression out on a context, within a budget.
_Run: TypeAlias = Callable[[Mapping[str, Any], Budget | None], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A compiled expression."""

    text: str
    places: Mapping[str, int]
    """Every name it reads, with the offset in ``text`` where it first stands."""
    keyed: Mapping[str, int]
    """Names that it reads as ``nodes["name"]``: always nodes; with their offsets."""
    bare: Mapping[str, int]
    """Names that it reads as they are: nodes, or names of the scope; with their offsets."""
    inputs: Mapping[str, int]
    """The inputs that it reads by name, each with its offset."""
    run: _Run
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

    def evaluate(self, context: Mapping[str, Json], budget: Budget | None = None) -> Json:
        """Evaluate on plain data.

        Args:
            context: ``inputs``, and for each node ``{"output": ..., "state": ...}`` by its id.
                Names that the expression does not read are not looked at.
            budget: What is left of it, where several expressions have one; else a whole one.

        Returns:
            A plain value: times become RFC 3339, durations ``90s``; maps keep the order in which
            they were written.

        Raises:
            ExpressionError: A name or key is missing, types do not fit, or it would take too much
                work.
        """
        try:
            result: Json = self.run(context, budget)
        except MisfitError as error:
            shown = len(self.text) - len(self.text.lstrip())
            why = f"{error.words} (at character {error.at - shown + 1})"
            raise ExpressionError(f"{self.text.strip()}: {why}") from None
        except ExpressionError as error:
            raise ExpressionError(f"{self.text.strip()}: {error}") from None
        except RecursionError:
            raise ExpressionError(
                f"{self.text.strip()}: its values are nested too deeply"
            ) from None
        return result


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
    match = _PLAIN_PATH.fullmatch(text)
    if match is not None and is_root(match[1]) and LITERALS.isdisjoint(match[2].split(".")):
        return _plain_path(text, match)
    tokens, found = scan(text)
    steps = as_path(tokens)
    run = _path(text, *steps) if steps else _program(tokens)
    # In the order of the text, so that problems are reported in it.
    both = sorted({**found.keyed, **found.roots}.items(), key=lambda item: item[1])
    return Expression(
        text=text,
        places=dict(both),
        keyed=found.keyed,
        bare=found.roots,
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
        keyed={},
        bare={root: match.start(1)},
        inputs={steps[0]: match.start(2) + 1} if root == INPUTS and steps else {},
        run=_path(text, root, steps),
        is_path=True,
    )


def _path(text: str, root: str, steps: Sequence[str | int], keyed: bool = False) -> _Run:  # noqa: FBT001, FBT002  (as as_path gives it)
    read = follow(root, steps, keyed=keyed)

    def run(context: Mapping[str, Any], budget: Budget | None) -> Any:
        try:
            value = read(context)
            if is_small(value):
                return value
            return copied(value) if budget is None else shared(value, budget)
        except ExpressionError:
            # The long way finds the same, and says where it is.
            return _program(scan(text)[0])(context, budget)

    return run


def _program(tokens: Sequence[Token]) -> _Run:
    work, variables = compile_tree(parse(tokens))

    def run(context: Mapping[str, Any], budget: Budget | None) -> Any:
        counted = budget or Budget()
        return plain(work(Frame(context, counted, variables)), counted)

    return run
