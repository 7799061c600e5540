"""Check what flows inside this one are given, and the defaults of node types in the config.

In: a draft, and what the flows inside declare. Out: problems. Not here: arguments of node types and
functions (arguments), the input of a run (engine.runs.inputs).
"""

from collections.abc import Mapping
from typing import Any

from flowcore.check.diagnostic import quote
from flowcore.check.draft import Draft, RawNode
from flowcore.check.unknowns import is_known, opened
from flowcore.graph.json_schema import value_problems
from flowcore.nodes.arguments.calls import LlmArguments
from flowcore.nodes.arguments.model import UNKNOWN, misfits

__all__ = ["check_given"]


def check_given(draft: Draft, inputs: Mapping[str, Mapping[str, Any]]) -> None:
    """Note what a flow inside this one does not take.

    Args:
        draft: Nodes whose shape is known.
        inputs: What each flow inside declares, by the id of its node.
    """
    for id, declared in inputs.items():
        raw = draft.nodes[id]
        given = raw.fields.get("with")
        if declared and isinstance(given, Mapping) and given:
            _check_input(draft, raw, opened(given), declared)
    _check_llm(draft)


def _check_input(
    draft: Draft, raw: RawNode, given: Mapping[str, Any], declared: Mapping[str, Any]
) -> None:
    path = (*raw.path, "with")
    for name, value in given.items():
        if name not in declared:
            hint = draft.problems.near(name, declared) or f"there is {', '.join(declared)}"
            what = f"input {quote(name)} is not declared by the flow"
            draft.problems.add("FC227", what, (*path, name), hint, at_key=True)
        elif isinstance(schema := declared[name], Mapping) and is_known(value):
            for misfit in value_problems(schema, value, name=name):
                draft.problems.add("FC222", misfit, (*path, name))
    for name, schema in declared.items():
        has_default = isinstance(schema, Mapping) and "default" in schema
        if name not in given and not has_default:
            what = f"input {quote(name)} of the flow is missing"
            draft.problems.add("FC204", what, path, f"give it, or {quote(name)} a default")


def _check_llm(draft: Draft) -> None:
    """The config's words for the model are those of its node type."""
    if draft.config is None or draft.config.llm is None:
        return
    given = {"model": UNKNOWN, **draft.config.llm.model_dump(exclude_none=True)}
    for found in misfits(LlmArguments, given):
        path = draft.config_path("llm", *found.path)
        draft.problems.add(found.code, found.sentence("llm"), path, found.suggestion)
