"""Give nodes the policies that their functions' decorators say.

In: a draft whose functions were imported, if they may be. Out: nodes with these policies, and the
ids of those of which nothing is known, since their modules are not here. Not here: how the two are
merged (graph.decorators).
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from flowcore.check.diagnostic import Problems
from flowcore.check.draft import Draft, RawNode
from flowcore.check.rules.fields import validate
from flowcore.errors import UsageError
from flowcore.graph.decorators import POLICIES, is_imported, laid_over, marked_keys, spec_of
from flowcore.graph.diagnostic import show_path
from flowcore.graph.flow import NodeDefinition
from flowcore.graph.serialize import spec_keys
from flowcore.nodes.types.celery_task import PREFIX

__all__ = ["function_of", "give_marks"]


def give_marks(draft: Draft, keys: Collection[str] = POLICIES) -> None:
    """Lay each node over what the decorator of its function says.

    Args:
        draft: Its nodes are replaced.
        keys: What decorators may say of these nodes.
    """
    known: dict[str, dict[str, Any]] = {}
    for id, raw in draft.nodes.items():
        uses = _called(draft, raw)
        if uses is None:
            continue
        if uses not in known:
            known[uses] = _said(draft, uses, raw, keys)
        if below := known[uses]:
            draft.nodes[id] = given = _given(draft, raw, uses, below)
            draft.marked[id] = marked_keys(given.fields, below)
        elif not is_imported(uses):
            draft.unknown.add(id)


def function_of(uses: str, given: Mapping[str, Any]) -> str | None:
    """The function that a node calls, if it is one that may be decorated.

    Args:
        uses: What the node uses.
        given: Its arguments: a ``tool`` calls the one that they name.
    """
    if uses == "tool":
        name, tools = given.get("name"), given.get("tools") or ()
        found = [
            one
            for one in tools
            if isinstance(one, str) and name in (one, one.rpartition(":")[2].rpartition(".")[2])
        ]
        return found[0] if len(found) == 1 else None
    return uses if ":" in uses and not uses.startswith(PREFIX) else None


def _called(draft: Draft, raw: RawNode) -> str | None:
    uses, given = raw.fields.get("uses"), raw.fields.get("with")
    if raw.model is None or not isinstance(uses, str):
        return None
    tools = {} if draft.config is None else {"tools": draft.config.tools}
    return function_of(uses, {**tools, **(given if isinstance(given, Mapping) else {})})


def _said(draft: Draft, uses: str, raw: RawNode, keys: Collection[str]) -> dict[str, Any]:
    """Return the decorator's settings, as a definition would spell them."""
    spec = spec_of(uses)
    if spec is None:
        return {}
    try:
        said = {name: value for name, value in spec_keys(spec).items() if name in keys}
    except UsageError as error:
        draft.problems.add("FC250", f"the decorator of {uses}: {error}", (*raw.path, "uses"))
        return {}
    problems = Problems()
    if validate(NodeDefinition, {"uses": uses, **said}, problems, tuple) is not None:
        return said
    for found in problems.found:
        what = f"the decorator of {uses} says {show_path(found.path)}: {found.message}"
        draft.problems.add("FC250", what, (*raw.path, "uses"), found.suggestion)
    return {}


def _given(draft: Draft, raw: RawNode, uses: str, below: Mapping[str, Any]) -> RawNode:
    own = {name: raw.fields[name] for name in POLICIES if name in raw.fields}
    fields = {**raw.fields, **laid_over(own, below)}
    problems = Problems()
    model = validate(NodeDefinition, fields, problems, tuple)
    if model is None:
        for found in problems.found:
            what = (
                f"with what the decorator of {uses} says, {show_path(found.path)}: {found.message}"
            )
            draft.problems.add("FC250", what, raw.path, found.suggestion)
        return raw
    return replace(raw, fields=fields, model=model)
