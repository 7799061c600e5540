"""Check the types of expressions, as far as inputs and outputs declare theirs.

In: a draft, an expression. Out: problems. Not here: which names may be read (expressions),
how types are inferred (infer).
"""

from collections.abc import Mapping
from typing import Any, Literal

from flowcore.check.draft import Draft
from flowcore.check.infer import Infer
from flowcore.expr.cel import INPUTS, Expression
from flowcore.expr.scan import tokenize
from flowcore.expr.tree import parse
from flowcore.graph.document import Path

__all__ = ["Wanted", "check_types"]

#: The type that a value has to have where an expression stands; None: any.
Wanted = Literal["bool", "list"] | None

#: Names that mean something else inside of maps, loops and ends.
_SCOPED = frozenset({"item", "index", "state", "iteration", "output", "run"})
_WORDS = {
    "bool": "a condition is true or false, and this is {}",
    "list": "'for_each' needs a list, and this is {}",
}
#: Operators that never give it, whatever they are given.
_NEVER: Mapping[Wanted, str] = {"bool": "+-*/%", "list": "-*/%", None: ""}
_HINTS = {"bool": "compare it with something", "list": None}


def check_types(
    draft: Draft, expression: Expression, path: Path, *, start: int = 0, wanted: Wanted = None
) -> None:
    """Note operators and functions that do not take what they are given, whatever that will be.

    Args:
        draft: The definition.
        expression: One of its expressions.
        path: Where the text with it stands.
        start: Where in the text it begins.
        wanted: What it has to be.
    """
    if expression.is_path and wanted is None:
        return
    infer = Infer(lambda name: _schema_of(draft, name))
    try:
        tree = parse(tokenize(expression.text)[0])
        found = infer.type_of(tree)
    except (ValueError, RecursionError):
        return  # deeper than anyone writes
    for words, at in infer.problems:
        draft.problems.add("FC228", words, path, offset=start + at)
    if found is None and tree.kind == "infix" and tree.word in _NEVER[wanted]:
        found = f"what '{tree.word}' gives"
    if wanted is not None and found is not None and found != wanted:
        what = _WORDS[wanted].format(found)
        draft.problems.add("FC228", what, path, _HINTS[wanted], offset=start + tree.start)


def _schema_of(draft: Draft, name: str) -> Mapping[str, Any]:
    """Return the schema declared for a name: for ``inputs``, or for a node's output."""
    if name == INPUTS:
        return {"type": "object", "properties": draft.head.get("inputs") or {}}
    if name in _SCOPED or name not in draft.nodes:
        return {}
    fields = draft.nodes[name].fields
    output: Any = fields.get("output") if fields.get("fallback") is None else None
    if fields.get("for_each") is not None:
        output = {"type": "array"}
    return {"type": "object", "properties": {"output": output, "state": {"type": "string"}}}
