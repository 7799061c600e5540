"""Check the inputs that a flow declares, and that no others are read.

In: a draft. Out: problems. Not here: the input of a run (engine.runs.inputs).
"""

from collections.abc import Mapping
from typing import Any

from flowcore.check.diagnostic import describe, quote
from flowcore.check.draft import Draft
from flowcore.expr.cel import Expression
from flowcore.graph.document import Path
from flowcore.graph.json_schema import is_quick, schema_problem, value_problems

__all__ = ["check_inputs", "check_read"]

JSON_TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")


def check_inputs(draft: Draft, inputs: Mapping[str, Any]) -> None:
    """Note declarations that are no JSON Schema, and defaults that do not fit theirs."""
    for name, schema in inputs.items():
        path: Path = ("inputs", name)
        if isinstance(schema, bool):
            continue
        if not isinstance(schema, Mapping):
            hint = f"write {{type: {schema}}}" if schema in JSON_TYPES else None
            what = f"expected a JSON Schema (a mapping), got {describe(schema)}"
            draft.problems.add("FC205", what, path, hint)
            continue
        kind = schema.get("type")
        if isinstance(kind, str) and kind not in JSON_TYPES:
            what = f"'type' must be one of {', '.join(JSON_TYPES)}, got {describe(kind)}"
            hint = draft.problems.near(kind, JSON_TYPES)
            draft.problems.add("FC222", what, (*path, "type"), hint)
        elif not is_quick(schema) and (problem := schema_problem(schema)):
            inside, reason = problem
            draft.problems.add("FC211", f"input {quote(name)} {reason}", (*path, *inside))
        elif "default" in schema:
            for misfit in value_problems(schema, schema["default"], name=name):
                draft.problems.add("FC222", f"the default of {misfit}", (*path, "default"))


def check_read(draft: Draft, expression: Expression, path: Path, *, start: int = 0) -> None:
    """Note inputs that an expression reads and that are not declared, if any are.

    Args:
        draft: The definition.
        expression: One of its expressions.
        path: Where the text with it stands.
        start: Where in the text it begins.
    """
    declared = draft.head.get("inputs")
    if not declared or not isinstance(declared, Mapping):
        return
    for name, offset in expression.inputs.items():
        if name not in declared:
            hint = draft.problems.near(name, declared) or f"there is {', '.join(declared)}"
            what = f"input {quote(name)} is not declared"
            draft.problems.add("FC227", what, path, hint, offset=start + offset)
