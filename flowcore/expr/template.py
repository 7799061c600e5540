"""Text with expressions in it: ``${{ fetch.output.url }}``.

In: a tree of JSON values, such as a node's ``with``. Out: a template to be rendered with data.
Not here: the expressions themselves (cel).

A text that is exactly one ``${{ expression }}`` gives the expression's value with its type. Any
other text with expressions gives text: texts go in as they are, other values as JSON. ``$${{``
stands for ``${{``. Keys of mappings are never templates.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from flowcore.expr.arithmetic import made_of
from flowcore.expr.budget import Budget
from flowcore.expr.cel import INPUTS, Expression, compile_expression
from flowcore.expr.scan import ExpressionSyntaxError, tokenize
from flowcore.json_text import json_text
from flowcore.types import Json

__all__ = [
    "Dashed",
    "Reference",
    "Template",
    "TextTemplate",
    "compile_template",
    "compile_text",
    "references",
]

OPEN, CLOSE, ESCAPED = "${{", "}}", "$${{"

#: A word with hyphens and no blanks in it.
_DASHED = re.compile(r"(?<![\w-])[A-Za-z_]\w*(?:-[A-Za-z_]\w*)+")

#: Characters of a text that is not counted: a template has room for few of them.
_SHORT = 64

# Characters after which "}}" may be something else than the end.
_DOUBT = re.compile(r"[\"'{/]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A name that a text reads."""

    name: str
    offset: int
    """Where it stands in the whole text, in characters."""
    keyed: bool
    """It is read as ``nodes["name"]``."""
    dashed: "Dashed | None" = None
    """The word with hyphens that it stands in, such as ``my-node``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashed:
    """A word with hyphens, which CEL takes for a subtraction."""

    word: str
    start: int
    """Where it begins in the expression."""
    is_key: bool
    """It stands after a point, as the key of something."""


def references(expression: Expression) -> list[Reference]:
    """The names that an expression reads, in its order."""
    dashed = _dashed(expression.text) if "-" in expression.text else ()
    found = [
        Reference(
            name=name,
            offset=offset,
            keyed=False,
            dashed=next((one for one in dashed if 0 <= offset - one.start < len(one.word)), None),
        )
        for name, offset in expression.bare.items()
    ]
    found += [
        Reference(name=name, offset=offset, keyed=True) for name, offset in expression.keyed.items()
    ]
    return sorted(found, key=lambda one: one.offset)


def _dashed(text: str) -> list[Dashed]:
    return [
        Dashed(word=match[0], start=match.start(), is_key=text[: match.start()].endswith("."))
        for match in _DASHED.finditer(text)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTemplate:
    """One text, split into what stands still and what is computed."""

    parts: tuple[str | Expression, ...]
    expressions: tuple[tuple[int, Expression], ...] = ()
    """Those of its parts that are computed, each with the place in the text where it begins."""

    @property
    def references(self) -> tuple[Reference, ...]:
        """The names that it reads."""
        return tuple(
            replace(one, offset=start + one.offset)
            for start, expression in self.expressions
            for one in references(expression)
        )

    def render(self, context: Mapping[str, Json], budget: Budget | None = None) -> Json:
        """Fill in values; see ``Expression.evaluate`` for the context, the budget and errors."""
        if len(self.parts) == 1:
            only = self.parts[0]
            return only if isinstance(only, str) else only.evaluate(context, budget)
        counted = budget or Budget()
        shown = []
        for part in self.parts:
            text = part if isinstance(part, str) else _shown(part.evaluate(context, counted))
            if len(text) > _SHORT:
                counted.make(made_of(text))
            shown.append(text)
        return "".join(shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A tree of values, some of them computed."""

    names: frozenset[str]
    """Names it reads: ``inputs``, ids of nodes, names of the scope."""
    fill: Callable[[Mapping[str, Json], Budget], Json]
    """Fill in values, within a budget."""

    keyed: frozenset[str] = frozenset()
    """Those of the names that it reads as ``nodes["name"]``."""
    bare: frozenset[str] = frozenset()
    """Those that it reads as they are."""
    several: bool = False
    """It has several expressions."""
    still: bool = False
    """Whether nothing in it is computed."""

    @property
    def node_refs(self) -> frozenset[str]:
        """The ids of nodes it reads."""
        return self.names - {INPUTS}

    def render(self, context: Mapping[str, Json]) -> Json:
        """Fill in values; a tree without expressions is returned as it is, not copied.

        All its expressions have one budget; see ``Expression.evaluate`` for context and errors.
        """
        return self.fill(context, Budget(shared=self.several))


def _shown(value: Json) -> str:
    return value if isinstance(value, str) else json_text(value)


def compile_template(value: Json) -> Template:
    """Compile a tree of values.

    Args:
        value: Any JSON value; its texts may hold ``${{ expression }}``.

    Returns:
        A template.

    Raises:
        ExpressionSyntaxError: An expression cannot be read.
    """
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, list | tuple):
        return _list(value)
    return _constant(value)


def _constant(value: Json) -> Template:
    return Template(names=frozenset(), fill=lambda *_: value, still=True)


def _text(value: str) -> Template:
    if OPEN not in value:
        return _constant(value)
    text = compile_text(value)
    found = text.references
    return Template(
        names=frozenset(ref.name for ref in found),
        keyed=frozenset(ref.name for ref in found if ref.keyed),
        bare=frozenset(ref.name for ref in found if not ref.keyed),
        several=len(text.expressions) > 1,
        fill=text.render,
    )


def _mapping(value: Mapping[str, Json]) -> Template:
    parts = {key: compile_template(item) for key, item in value.items() if _has(item)}
    if not parts:
        return _constant(value)

    def fill(context: Mapping[str, Json], budget: Budget) -> Json:
        return {
            key: parts[key].fill(context, budget) if key in parts else item
            for key, item in value.items()
        }

    return _joined(parts.values(), fill)


def _joined(
    parts: Iterable[Template], fill: Callable[[Mapping[str, Json], Budget], Json]
) -> Template:
    all_ = list(parts)
    return Template(
        names=frozenset[str]().union(*(part.names for part in all_)),
        keyed=frozenset[str]().union(*(part.keyed for part in all_)),
        bare=frozenset[str]().union(*(part.bare for part in all_)),
        several=len(all_) > 1 or any(part.several for part in all_),
        fill=fill,
    )


def _list(value: list[Json] | tuple[Json, ...]) -> Template:
    if not any(map(_has, value)):
        return _constant(value)
    parts = [compile_template(item) for item in value]
    return _joined(parts, lambda context, b: [part.fill(context, b) for part in parts])


def _has(value: Json) -> bool:
    if isinstance(value, str):
        return OPEN in value
    if isinstance(value, Mapping):
        return any(map(_has, value.values()))
    return isinstance(value, list | tuple) and any(map(_has, value))


@lru_cache(maxsize=8192)
def compile_text(text: str) -> TextTemplate:
    """Compile one text.

    Args:
        text: Text that may hold ``${{ expression }}``.

    Returns:
        The compiled text, with the places of the names it reads.

    Raises:
        ExpressionSyntaxError: An expression cannot be read or is not closed; its offset counts
            from the start of the whole text.
    """
    parts: list[str | Expression] = []
    expressions: list[tuple[int, Expression]] = []
    still, at = "", 0
    while (begin := text.find(OPEN, at)) >= 0:
        if text.startswith(ESCAPED, begin - 1) and begin > at:
            still, at = still + text[at : begin - 1] + OPEN, begin + len(OPEN)
            continue
        expression, start, after = _expression(text, begin)
        still += text[at:begin]
        parts += [still, expression] if still else [expression]
        expressions.append((start, expression))
        still, at = "", after
    still += text[at:]
    if still or not parts:
        parts.append(still)
    return TextTemplate(parts=tuple(parts), expressions=tuple(expressions))


def _expression(text: str, begin: int) -> tuple[Expression, int, int]:
    """Compile the expression that opens at ``begin``: it, where it starts, where text goes on."""
    start = begin + len(OPEN)
    end = _end(text, start)
    if end == len(text):
        raise ExpressionSyntaxError("'${{' is not closed by '}}'", begin)
    try:
        return compile_expression(text[start:end]), start, end + len(CLOSE)
    except ExpressionSyntaxError as error:
        raise ExpressionSyntaxError(error.reason, start + error.offset) from None


def _end(text: str, start: int) -> int:
    """Find the closing ``}}``; one inside a text or a mapping of the expression is not it."""
    end = text.find(CLOSE, start)
    if end >= 0 and not _DOUBT.search(text, start, end):
        return end
    return tokenize(text, start)[1]
