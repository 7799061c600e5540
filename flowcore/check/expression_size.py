"""A bound on the text of all expressions of a definition, before any of them is compiled.

In: a document. Out: an error, if compiling its expressions would take seconds. Not here: limits of
one expression (expr.scan).

An expression of 4,096 characters takes 28 ms to compile, and a definition of 4 MiB may hold a
thousand of them: in a web process that checks what it is sent, that is half a minute. Paths such as
``${{ fetch.output.body }}`` are read without compiling, and a text that stands twice is compiled
once: neither counts.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from flowcore.graph.diagnostic import Diagnostic, refuse
from flowcore.graph.document import Document, Path

__all__ = ["check_expression_size"]

_OPEN, _CLOSE = "${{", "}}"
#: Fields whose whole text is an expression.
_CONDITIONS = frozenset({"if", "when", "until"})
_PATH = re.compile(r"\s*[A-Za-z_][\w.]*\s*")


def check_expression_size(document: Document) -> None:
    """Refuse a definition whose expressions are too long, all together.

    Raises:
        InvalidFlowError: They are; says at which one.
    """
    most, total = document.limits.expressions, 0
    seen: set[str] = set()
    for path, text in _expressions(document.tree, ()):
        if text in seen or _PATH.fullmatch(text):
            continue
        seen.add(text)
        total += len(text)
        if total > most:
            what = f"the expressions of a definition have at most {most:,} characters in all"
            hint = "work the values out in a function, or in a flow of their own"
            found = Diagnostic(code="FC215", message=what, path=path, suggestion=hint)
            raise refuse(document, [found])


def _expressions(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """All expressions, with the places of the texts that they stand in."""
    if isinstance(value, str):
        if _OPEN in value:
            yield from ((path, text) for text in _inside(value))
        elif path and path[-1] in _CONDITIONS:
            yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _expressions(item, (*path, key))
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            yield from _expressions(item, (*path, at))


def _inside(text: str) -> Iterator[str]:
    """The expressions of a text: each to the last braces that may close it."""
    for part in text.split(_OPEN)[1:]:
        yield part[: end if (end := part.rfind(_CLOSE)) >= 0 else len(part)]
